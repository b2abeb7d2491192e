//! Several models in one process: one load each, a memory budget, and the order of eviction.

use kokeshi::{Error, Input, LoadOptions, Model, Models};
use kokeshi_testkit::fixture;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

const V2: &str = "v2-tiny/std_wordpiece";
const CODE: &str = "v2-tiny/code_bpe";
const ZH: &str = "v2-tiny/std_zh_f16";
const V3: &str = "v3-tiny/original";

fn open(folder: &str, options: &LoadOptions) -> Result<Model, Error> {
    Model::open(&fixture(folder), options)
}

fn get(models: &Models, folder: &str) -> Result<Arc<Model>, Error> {
    models.get(folder, |options| open(folder, options))
}

/// A loader that must not be called.
fn not_again(_: &LoadOptions) -> Result<Model, Error> {
    panic!("the model is already loaded")
}

fn unlimited() -> Models {
    Models::new(LoadOptions::default(), None)
}

/// A cache with a budget of exactly these models.
fn room_for(folders: &[&str]) -> Models {
    let models = unlimited();
    folders.iter().for_each(|folder| drop(get(&models, folder).expect(folder)));
    let bytes = models.loaded().iter().map(|model| model.bytes).sum();
    Models::new(LoadOptions::default(), Some(bytes))
}

fn names(models: &Models) -> Vec<String> {
    models.loaded().into_iter().map(|model| model.id).collect()
}

#[test]
fn v2_and_v3_in_one_process_have_the_same_vectors_as_alone() {
    let models = unlimited();
    for folder in [V2, V3, CODE] {
        get(&models, folder).expect(folder);
    }
    for folder in [V3, V2, CODE] {
        let model = models.get(folder, not_again).expect(folder);
        let input = [Input::new("The same text.").task("text-matching")];
        let alone = open(folder, &LoadOptions::default()).expect(folder);
        assert_eq!(model.embed(&input).expect(folder), alone.embed(&input).expect(folder));
    }
    assert_eq!(names(&models), [V3, V2, CODE], "the most recently requested comes last");
    for loaded in models.loaded() {
        let model = models.get(&loaded.id, not_again).expect("loaded");
        assert_eq!(loaded.bytes, model.len_bytes());
    }
}

#[test]
fn the_least_recently_requested_model_is_evicted_first() {
    let models = room_for(&[V2, CODE, V3]);
    for folder in [V2, CODE, V3, V2] {
        get(&models, folder).expect(folder);
    }
    assert_eq!(names(&models), [CODE, V3, V2], "all three fit to the byte");
    get(&models, ZH).expect("it replaces the oldest");
    assert_eq!(names(&models), [V3, V2, ZH]);
    get(&models, CODE).expect("it loads again");
    assert_eq!(names(&models).last().expect("a model"), CODE);
    assert!(!names(&models).contains(&V3.to_owned()), "{:?}", names(&models));
}

#[test]
fn a_model_in_use_is_never_dropped() {
    let models = room_for(&[V2, CODE]);
    let held = get(&models, V2).expect("a model");
    get(&models, CODE).expect("a model");
    get(&models, ZH).expect("room by dropping the unused model");
    assert_eq!(names(&models), [V2, ZH]);
    let again = models.get(V2, not_again).expect("still loaded");
    assert!(Arc::ptr_eq(&held, &again));
}

#[test]
fn a_model_that_does_not_fit_next_to_those_in_use_is_refused_and_evicts_nothing() {
    let models = room_for(&[V2, ZH]);
    let held = get(&models, V2).expect("a model");
    get(&models, ZH).expect("a model");
    let bytes = open(CODE, &LoadOptions::default()).expect("a model").len_bytes();
    let budget = models.loaded().iter().map(|model| model.bytes).sum::<usize>();
    let refused = get(&models, CODE).expect_err("no room");
    assert_eq!(
        refused.to_string(),
        format!(
            "the model `{CODE}` needs {bytes} bytes and the models in use take {} bytes; together \
             they are over the memory budget of {budget} bytes",
            held.len_bytes()
        )
    );
    let enough = (bytes + held.len_bytes()).to_string();
    assert!(refused.hint().expect("a hint").contains(&enough), "{:?}", refused.hint());
    assert_eq!(names(&models), [V2, ZH]);
    drop(held);
    get(&models, CODE).expect("room, now that the other is unused");
}

#[test]
fn a_model_larger_than_the_budget_is_refused() {
    let models = Models::new(LoadOptions::default(), Some(1000));
    let refused = get(&models, V2).expect_err("no room");
    assert!(matches!(refused, Error::Budget { in_use: 0, budget: 1000, .. }), "{refused}");
    assert!(models.loaded().is_empty());
}

#[test]
fn callers_of_one_model_load_it_once_and_share_it() {
    let (models, opens) = (unlimited(), AtomicUsize::new(0));
    let get_slowly = || {
        models.get(V2, |options| {
            opens.fetch_add(1, Ordering::SeqCst);
            // Long enough for the others to arrive and wait.
            thread::sleep(Duration::from_millis(50));
            open(V2, options)
        })
    };
    let all: Vec<_> = thread::scope(|scope| {
        let callers: Vec<_> = (0..4).map(|_| scope.spawn(get_slowly)).collect();
        callers.into_iter().map(|caller| caller.join().expect("a result").expect(V2)).collect()
    });
    assert_eq!(opens.load(Ordering::SeqCst), 1);
    assert!(all.iter().all(|model| Arc::ptr_eq(model, &all[0])));
}

#[test]
fn a_load_does_not_stop_users_of_other_models() {
    let models = unlimited();
    get(&models, V2).expect("a model");
    let (started, starts) = mpsc::channel();
    let (release, released) = mpsc::channel();
    thread::scope(|scope| {
        let models = &models;
        let slow = scope.spawn(move || {
            models.get(V3, |options| {
                started.send(()).expect("a listener");
                released.recv_timeout(Duration::from_secs(20)).expect("others continue meanwhile");
                open(V3, options)
            })
        });
        starts.recv().expect("the load has begun");
        models.get(V2, not_again).expect("at once");
        get(models, ZH).expect("another load");
        assert_eq!(names(models), [V2, ZH], "a model that is loading is not loaded");
        release.send(()).expect("a listener");
        slow.join().expect("no panic").expect("a model");
    });
    assert_eq!(names(&models), [V2, ZH, V3]);
}

#[test]
fn a_failed_load_leaves_no_trace_and_the_next_call_retries() {
    let models = unlimited();
    let missing = models.get("name", |options| open("v3-tiny/no such folder", options));
    assert!(matches!(missing, Err(Error::Model(_))), "{missing:?}");
    assert!(models.loaded().is_empty());
    models.get("name", |options| open(V2, options)).expect("a second try");
    assert_eq!(names(&models), ["name"]);
}

#[test]
fn a_caller_that_waited_for_a_failed_load_retries_itself() {
    let models = unlimited();
    let (started, starts) = mpsc::channel();
    thread::scope(|scope| {
        let models = &models;
        let first = scope.spawn(move || {
            models.get(V2, |_| {
                started.send(()).expect("a listener");
                thread::sleep(Duration::from_millis(50));
                Err(Error::Options("the load failed".to_owned()))
            })
        });
        starts.recv().expect("the load has begun");
        get(models, V2).expect("its own try");
        first.join().expect("no panic").expect_err("the load failed");
    });
}

#[test]
fn a_load_that_panics_does_not_lock_others_out() {
    let models = unlimited();
    let panics = || models.get(V2, |_| panic!("a bug in the caller"));
    catch_unwind(AssertUnwindSafe(panics)).expect_err("it panics");
    get(&models, V2).expect("the next call tries again");
}
