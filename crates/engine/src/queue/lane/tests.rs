//! The order of a lane, without threads.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// An item that names its client.
type Item = (&'static str, usize);

fn items(client: &'static str, tokens: usize, count: usize) -> impl Iterator<Item = (usize, Item)> {
    (0..count).map(move |number| (tokens, (client, number)))
}

fn numbers_of<'a>(batch: &'a [Item], client: &'a str) -> Vec<usize> {
    batch.iter().filter(|(name, _)| *name == client).map(|(_, number)| *number).collect()
}

#[test]
fn a_single_text_waits_for_one_batch_of_a_client_with_a_thousand() {
    let mut lane = Lane::new(160);
    lane.push("many", items("many", 10, 1000));
    assert_eq!(numbers_of(&lane.next_batch(), "many"), Vec::from_iter(0..16));
    lane.push("one", items("one", 10, 1));
    let batch = lane.next_batch();
    assert_eq!(
        (numbers_of(&batch, "one"), numbers_of(&batch, "many")),
        (vec![0], Vec::from_iter(16..31))
    );
    assert_eq!(lane.tokens(), 10 * (1000 - 31));
}

#[test]
fn clients_share_a_batch_by_tokens_not_by_texts() {
    let mut lane = Lane::new(1600);
    lane.push("short", items("short", 10, 1000));
    lane.push("long", items("long", 100, 1000));
    let batch = lane.next_batch();
    assert_eq!((numbers_of(&batch, "short").len(), numbers_of(&batch, "long").len()), (80, 8));
}

#[test]
fn a_long_text_gets_its_turn_while_short_ones_keep_arriving() {
    let mut lane = Lane::new(160);
    lane.push("short", items("short", 10, 1));
    lane.push("long", items("long", 160, 2));
    let mut long = Vec::new();
    for batch in 0..6 {
        lane.push("short", items("short", 10, 16));
        let items = lane.next_batch();
        long.extend(numbers_of(&items, "long").iter().map(|number| (batch, *number)));
    }
    assert_eq!(long, [(1, 0), (3, 1)]);
}

#[test]
fn a_client_that_returns_keeps_its_account() {
    let mut lane = Lane::new(100);
    lane.push("backlog", items("backlog", 10, 100));
    let (mut long, mut backlog) = (0, 0);
    for _ in 0..20 {
        // At most one item waits, and none while its batch runs.
        if !lane.clients.iter().any(|c| c.name == "long" && !c.waiting.is_empty()) {
            lane.push("long", [(100, ("long", 0))]);
        }
        let items = lane.next_batch();
        long += 100 * numbers_of(&items, "long").len();
        backlog += 10 * numbers_of(&items, "backlog").len();
    }
    assert_eq!((long, backlog), (1000, 1000));
}

#[test]
fn a_text_over_the_budget_runs_alone() {
    let mut lane = Lane::new(100);
    lane.push("a", [(10, ("a", 0)), (500, ("a", 1)), (10, ("a", 2))]);
    let batches: Vec<_> = (0..4).map(|_| lane.next_batch()).collect();
    assert_eq!(batches, [vec![("a", 0)], vec![("a", 1)], vec![("a", 2)], vec![]]);
    assert!(lane.is_empty());
}

#[test]
fn removed_items_do_not_run_and_their_client_loses_no_turn() {
    let mut lane = Lane::new(32);
    lane.push("a", items("a", 2, 4));
    lane.push("b", items("b", 2, 2));
    lane.remove("a", |(_, number)| number % 2 == 0);
    lane.remove("b", |_| true);
    assert_eq!(lane.tokens(), 4);
    assert_eq!(lane.next_batch(), [("a", 1), ("a", 3)]);
    assert!(lane.is_empty());
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// For any items in any order: every item is taken once, those of a client in order; no batch
    /// is over the budget unless it is a single item; no batch is empty while an item waits.
    #[test]
    fn every_item_comes_once_in_order_and_within_the_budget(
        budget in 1_usize..200,
        steps in prop::collection::vec((0_usize..4, 0_usize..300, any::<bool>()), 1..200),
    ) {
        let mut lane = Lane::new(budget);
        let mut pushed: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        let mut taken: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        let mut take = |lane: &mut Lane<(&'static str, usize, usize)>| {
            let waited = !lane.is_empty();
            let batch = lane.next_batch();
            let tokens: usize = batch.iter().map(|(_, _, tokens)| tokens).sum();
            assert_eq!(batch.is_empty(), !waited);
            let sized = batch.iter().filter(|(_, _, tokens)| *tokens > 0).count();
            assert!(tokens <= budget || sized == 1, "{batch:?}");
            batch.iter().for_each(|(name, number, _)| taken.entry(name).or_default().push(*number));
        };
        for (number, (client, tokens, run)) in steps.into_iter().enumerate() {
            let name = NAMES[client];
            lane.push(name, [(tokens, (name, number, tokens))]);
            pushed.entry(name).or_default().push(number);
            if run {
                take(&mut lane);
            }
        }
        while !lane.is_empty() {
            take(&mut lane);
        }
        prop_assert_eq!(taken, pushed);
    }

    /// While two clients both wait, the tokens they were served differ by at most about one batch.
    #[test]
    fn waiting_clients_are_served_equally(budget in 16_usize..200, a in 1_usize..150, b in 1_usize..150) {
        let mut lane = Lane::new(budget);
        lane.push("a", items("a", a, 500));
        lane.push("b", items("b", b, 500));
        let (mut of_a, mut of_b) = (0, 0);
        while of_a + a <= 400 * a && of_b + b <= 400 * b {
            let batch = lane.next_batch();
            of_a += a * numbers_of(&batch, "a").len();
            of_b += b * numbers_of(&batch, "b").len();
            let slack = a + b + budget;
            prop_assert!(of_a.abs_diff(of_b) <= slack, "{} {}", of_a, of_b);
        }
    }
}
