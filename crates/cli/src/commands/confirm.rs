//! Questions before something is removed.

use crate::failure::hinted;
use crate::visible::visible;
use std::io::{BufRead, IsTerminal, Write};

/// Asks `question` on the terminal.
///
/// # Errors
///
/// If the answer is not yes, or standard input is not a terminal.
pub(super) fn confirm(question: &str) -> anyhow::Result<()> {
    if !std::io::stdin().is_terminal() {
        return Err(hinted(
            "cannot prompt: standard input is not a terminal; nothing was removed",
            "use --yes to skip the confirmation",
        ));
    }
    write!(std::io::stderr(), "{} [yes/no] ", visible(question))?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    match answer.trim() {
        "yes" => Ok(()),
        _ => Err(anyhow::anyhow!("nothing was removed")),
    }
}
