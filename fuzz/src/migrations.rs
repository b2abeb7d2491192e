//! Plans and ledgers.

use crate::files::{database, file};
use kokeshi_migrate::{Ledger, Plan};

/// A plan that is accepted can be written and read again.
pub(crate) fn plan(text: &[u8]) {
    let Ok(plan) = Plan::read(&file("plan.toml", text)) else { return };
    let rendered = plan.render("a note\n[x]").expect("a text");
    let again = Plan::read(&file("again.toml", rendered.as_bytes())).expect("the same plan");
    assert_eq!(plan.fingerprint(), again.fingerprint());
}

/// A ledger can be listed, or is refused; reading changes nothing.
pub(crate) fn ledger(bytes: &[u8]) {
    let path = database("ledger.db", bytes);
    if let Ok(Some(ledger)) = Ledger::read(&path)
        && let Ok(migrations) = ledger.all()
    {
        for migration in &migrations {
            drop(ledger.failures(&migration.name));
        }
    }
    assert!(std::fs::read(&path).expect("the file") == bytes, "reading has changed it");
    drop(Ledger::open(&path).and_then(|ledger| ledger.all()));
}
