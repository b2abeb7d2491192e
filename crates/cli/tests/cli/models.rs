//! `kokeshi models`: list, pull, info, verify, synthesize.

use crate::{PROGRAM, Run, Sandbox, tiny_v3};
use std::fs;

#[test]
fn list_shows_every_known_model_and_whether_it_is_local() {
    let sandbox = Sandbox::new();
    let run = sandbox.run(["models", "list"]);
    let (starter, others): (Vec<&str>, Vec<&str>) =
        run.quiet().lines().partition(|line| line.starts_with("starter "));
    assert!(starter.len() == 1 && starter[0].contains(" bundled  MIT "));
    insta::assert_snapshot!(others.join("\n"), @r##"
    name                         parameters     download  licence       local description
    jina-embeddings-v3                572 M      1.14 GB  CC-BY-NC-4.0  no    multilingual, 1024 dimensions, five task adapters, 8192 tokens
    jina-embeddings-v2-small-en        33 M     65.38 MB  Apache-2.0    no    English, 512 dimensions, 8192 tokens
    jina-embeddings-v2-base-en        137 M    274.74 MB  Apache-2.0    no    English, 768 dimensions, 8192 tokens
    jina-embeddings-v2-base-de        161 M    321.63 MB  Apache-2.0    no    German and English, 768 dimensions, 8192 tokens
    jina-embeddings-v2-base-es        161 M    321.63 MB  Apache-2.0    no    Spanish and English, 768 dimensions, 8192 tokens
    jina-embeddings-v2-base-zh        161 M    321.63 MB  Apache-2.0    no    Chinese and English, 768 dimensions, 8192 tokens
    jina-embeddings-v2-base-code      161 M    321.74 MB  Apache-2.0    no    English and 30 programming languages, 768 dimensions, 8192 tokens
    "##);
    let models = sandbox.run(["models", "list", "--json"]).json();
    assert_eq!(models.as_array().map(Vec::len), Some(8));
    assert_eq!(
        (models[0]["bundled"].as_bool(), models[1]["bundled"].as_bool()),
        (Some(true), Some(false))
    );
    assert!(models[1]["cached"].is_null());
}

#[cfg(unix)]
#[test]
fn damaged_files_of_a_download_are_not_loaded() {
    use sha2::Digest as _;
    let sandbox = Sandbox::new();
    let snapshot = sandbox.cache("jina-embeddings-v3", &tiny_v3());
    let weights = fs::read(snapshot.join("model.safetensors")).expect("weights");
    let digest = format!("{:x}", sha2::Sha256::digest(&weights));
    let blob = sandbox.path("hub/models--jinaai--jina-embeddings-v3/blobs").join(&digest);
    fs::create_dir_all(blob.parent().expect("a folder")).expect("a folder");
    fs::write(&blob, &weights).expect("a blob");
    fs::remove_file(snapshot.join("model.safetensors")).expect("a removal");
    let link = format!("../../blobs/{digest}");
    std::os::unix::fs::symlink(link, snapshot.join("model.safetensors")).expect("a link");
    let embed = ["embed", "--model", "jina-embeddings-v3", "x"];
    let checked = ["embed", "--model", "jina-embeddings-v3", "--check-model", "x"];
    // What another tool has downloaded is read as it is, until it is checked once.
    sandbox.run(checked).jsonl();
    sandbox.run(embed).jsonl();
    let mut damaged = weights.clone();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    fs::write(&blob, &damaged).expect("a blob");
    for arguments in [&embed[..], &checked, &["models", "verify"]] {
        let run = sandbox.run(arguments);
        let error = run.failure(4);
        assert!(error.contains("model.safetensors is damaged: its SHA-256 is "), "{error}");
        assert!(error.contains("`kokeshi models pull jina-embeddings-v3`"), "{error}");
    }
    fs::write(&blob, &weights).expect("a blob");
    sandbox.run(embed).jsonl();
}

#[test]
fn a_model_in_the_cache_is_found_by_its_name() {
    let sandbox = Sandbox::new();
    let snapshot = sandbox.cache("jina-embeddings-v3", &tiny_v3());
    let models = sandbox.run(["models", "list", "--json"]).json();
    assert_eq!(models[1]["cached"].as_str(), snapshot.to_str());
    let list = sandbox.run(["models", "list"]);
    let line = list.quiet().lines().find(|line| line.starts_with("jina-embeddings-v3 "));
    assert!(line.expect("a line").contains(" CC-BY-NC-4.0  yes "), "{line:?}");
    let pull = sandbox.run(["models", "pull", "jina-embeddings-v3"]);
    assert_eq!((pull.status, pull.text().trim_end()), (Some(0), snapshot.to_str().expect("UTF-8")));
    let entries = sandbox.run(["embed", "a", "--model", "jina-embeddings-v3"]).jsonl();
    assert_eq!(crate::vector(&entries[0]).len(), 64);
}

#[test]
fn the_bundled_model_needs_no_pull_and_offline_nothing_is_pulled() {
    let sandbox = Sandbox::new();
    let run = sandbox.run(["models", "pull", "starter"]);
    assert_eq!((run.status, run.text()), (Some(0), ""));
    assert!(run.stderr.contains("part of this program"));
    let run = sandbox.run(["models", "pull", "jina-embeddings-v3"]);
    let error = run.failure(4);
    assert!(error.contains("CC-BY-NC-4.0") && error.contains("HF_HUB_OFFLINE"), "{error}");
}

#[test]
fn info_shows_configuration_tensors_tasks_tokenizer_and_licence() {
    let sandbox = Sandbox::new();
    let folder = tiny_v3();
    let folder = folder.to_str().expect("a path in UTF-8");
    let info = sandbox.run(["models", "info", folder, "--json"]).json();
    assert_eq!(
        (info["config"]["hidden"].as_u64(), info["config"]["layers"].as_u64()),
        (Some(64), Some(3))
    );
    assert_eq!(info["tasks"][0]["name"], "retrieval.query");
    assert_eq!(
        (&info["tokenizer"]["kind"], info["tokenizer"]["vocab"].as_u64()),
        (&"Unigram".into(), Some(615))
    );
    let listed = include_str!("../../../../fixtures/v3-tiny/golden/original_tensor_list.txt");
    let tensors = info["tensors"].as_array().expect("tensors");
    assert!(!tensors.is_empty());
    for tensor in tensors {
        let name = tensor["name"].as_str().expect("a name");
        assert!(listed.contains(name), "{name}");
    }
    let run = sandbox.run(["models", "info", "starter"]);
    let text = run.quiet();
    for expected in ["MIT", "layout      transformers", "retrieval.passage", "Unigram", "rotary"] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[test]
fn verify_fails_every_case_for_weights_that_are_not_the_released_ones() {
    let sandbox = Sandbox::new();
    let folder = tiny_v3();
    let folder = folder.to_str().expect("a path in UTF-8");
    let run = sandbox.run(["models", "verify", folder, "--json"]);
    assert_eq!((run.status, run.stderr.as_str()), (Some(1), "0 of 14 cases pass\n"));
    let report: serde_json::Value = serde_json::from_str(run.text()).expect("JSON");
    for case in report["cases"].as_array().expect("cases") {
        let number = |name: &str| case[name].as_f64().expect("a number");
        assert!(number("difference") > number("tolerance"), "{case}");
    }
    let run = sandbox.run(["models", "verify", folder]);
    assert_eq!(run.text().matches("FAIL ").count(), 14);
}

#[test]
fn verify_uses_f32_unless_another_precision_is_given() {
    let sandbox = Sandbox::new();
    let folder = tiny_v3();
    let folder = folder.to_str().expect("a path in UTF-8");
    let cases = |precision: &[&str]| {
        let arguments = [&["models", "verify", folder, "--json"], precision].concat();
        let mut command = sandbox.command(PROGRAM, arguments);
        command.env_remove("KOKESHI_PRECISION");
        let run = Run::of(command, b"");
        let report: serde_json::Value = serde_json::from_str(run.text()).expect("JSON");
        report["cases"].clone()
    };
    let exact = cases(&["--precision", "f32"]);
    assert_eq!(cases(&[]), exact);
    assert_ne!(cases(&["--precision", "bf16"]), exact);
}

#[test]
fn the_starter_model_has_nothing_to_verify() {
    let run = Sandbox::new().run(["models", "verify", "starter"]);
    insta::assert_snapshot!(run.failure(4), @r##"
    error: no published vectors of `starter` to compare with
    hint: published vectors exist for `jina-embeddings-v3`, `jina-embeddings-v2-base-code`, `jina-embeddings-v2-small-en`
    "##);
}

#[test]
fn a_model_without_the_tasks_of_v3_has_nothing_to_verify() {
    let sandbox = Sandbox::new();
    let fixture = tiny_v3();
    let config = fs::read_to_string(fixture.join("config.json")).expect("a config");
    let mut config: serde_json::Value = serde_json::from_str(&config).expect("JSON");
    let tasks = config["lora_adaptations"].as_array_mut().expect("tasks");
    tasks[2] = "seperation".into();
    sandbox.write("config.json", config.to_string());
    for name in ["tokenizer.json", "model.safetensors"] {
        fs::copy(fixture.join(name), sandbox.path(name)).expect("a copy");
    }
    let run = sandbox.run(["models", "verify", "./"]);
    assert!(run.failure(4).starts_with("error: no published vectors of `./` to "));
}

#[test]
fn a_synthetic_checkpoint_opens_and_the_same_seed_writes_the_same_file() {
    let sandbox = Sandbox::new();
    let synthesize = |folder: &str, seed: &str| {
        let options = ["--shape", "tiny", "--seed", seed];
        let run = sandbox.run(["models", "synthesize", folder].iter().chain(&options));
        assert_eq!(run.quiet(), format!("{folder}\n"));
        fs::read(sandbox.path(folder).join("model.safetensors")).expect("weights")
    };
    let first = synthesize("a", "7");
    assert_eq!(first, synthesize("b", "7"));
    assert_ne!(first, synthesize("c", "8"));
    let entries = sandbox.run(["embed", "a text", "--model", "./a"]).jsonl();
    assert_eq!(crate::vector(&entries[0]).len(), 64);
    let run = sandbox.run(["models", "synthesize", "a", "--shape", "tiny"]);
    assert!(run.failure(4).starts_with("error: a already contains a checkpoint\nhint: "));
}

#[test]
fn a_quantized_copy_opens_and_reports_what_it_costs() {
    let sandbox = Sandbox::new();
    let source = tiny_v3();
    let source = source.to_str().expect("a path in UTF-8");
    for (folder, bits) in [("eight", "8"), ("four", "4")] {
        let options = ["models", "quantize", source, folder, "--table-bits", bits, "--json"];
        let report = sandbox.run(options).json();
        let bytes = ["bytes_before", "bytes_after"].map(|key| report[key].as_u64().expect("bytes"));
        assert!(bytes[1] < bytes[0] && bytes[1] > bytes[0] / 4, "{bytes:?}");
        let comparison = &report["comparison"];
        let cosine = |key: &str| comparison[key].as_f64().expect("a cosine");
        let (mean, worst) = (cosine("cosine_mean"), cosine("cosine_worst"));
        assert!(0.95 < worst && worst < mean && mean < 1.0, "{comparison}");
        assert_eq!(comparison["vectors"].as_u64(), Some(12 * 5));
        let info = sandbox.run(["models", "info", &format!("./{folder}"), "--json"]).json();
        assert_eq!(info["config"]["quantized"].as_bool(), Some(true));
        // The pooler, which no embedding uses, is left out.
        let parameters = |name: &str| {
            let info = sandbox.run(["models", "info", name, "--json"]).json();
            info["parameters"].as_u64().expect("a number")
        };
        let head = 64 * 64 + 64 + 2 * 5 * 4 * 64;
        assert_eq!(parameters(&format!("./{folder}")), parameters(source) - head);
        let entries = sandbox.run(["embed", "a", "--model", &format!("./{folder}")]).jsonl();
        assert_eq!(crate::vector(&entries[0]).len(), 64);
    }
    let names = |folder: &str| {
        let entries = fs::read_dir(sandbox.path(folder)).expect("a folder");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    };
    let copied = ["1_Pooling", "README.md", "config.json", "config_sentence_transformers.json"];
    assert!(copied.iter().all(|name| names("eight").iter().any(|other| other == name)));
    let leftovers: Vec<String> =
        names(".").into_iter().filter(|name| name.starts_with(".kokeshi-quantize")).collect();
    assert!(leftovers.is_empty(), "{leftovers:?}");
}

#[test]
fn a_quantized_copy_replaces_nothing_and_keeps_the_licence() {
    let sandbox = Sandbox::new();
    let snapshot = sandbox.cache("jina-embeddings-v3", &tiny_v3());
    fs::write(snapshot.join("README.md"), "# the original's card\n").expect("a card");
    let quantize = ["models", "quantize", "jina-embeddings-v3", "copy"];
    let run = sandbox.run(quantize);
    assert!(
        run.quiet().contains("licence  CC-BY-NC-4.0: that of the original applies to the copy")
    );
    let card = fs::read_to_string(sandbox.path("copy/README.md")).expect("a card");
    assert!(card.starts_with("---\nlicense: cc-by-nc-4.0\nbase_model: jina-embeddings-v3\n---\n"));
    assert!(card.contains("- cosine: 0.9") && card.contains(" to the original in f32 "), "{card}");
    let original = fs::read_to_string(sandbox.path("copy/README.original.md"));
    assert_eq!(original.expect("the original's card"), "# the original's card\n");
    let info = sandbox.run(["models", "info", "./copy"]);
    assert!(info.quiet().contains("licence     cc-by-nc-4.0, as its model card says"));

    let error = sandbox.run(quantize).failure(4).to_owned();
    assert_eq!(error, "error: copy already exists\nhint: choose a folder that does not exist\n");
    let run = sandbox.run(["models", "quantize", "./copy", "again"]);
    assert!(run.failure(4).contains("copy is quantized already"), "{}", run.stderr);
    assert!(!sandbox.path("again").exists(), "nothing is left behind");
    let run = sandbox.run(["models", "quantize", "starter", "again"]);
    assert!(run.failure(4).contains("is quantized already"), "{}", run.stderr);
    let all = ["models", "quantize", "jina-embeddings-v3", "other", "--skip-comparison"];
    assert!(sandbox.run(all).quiet().contains("cosine   not compared"));
    assert!(sandbox.run(["embed", "a", "--model", "./other"]).jsonl()[0]["embedding"].is_array());
}
