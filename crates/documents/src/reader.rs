//! What this build can read.

/// Counts the changes that let more files be read.
const VERSION: u32 = 2;

/// Identifies what [`read`](crate::read) can read in this build. A file that another reader left
/// out is worth another try.
pub fn reader() -> String {
    let office = if cfg!(feature = "office") { "+office" } else { "" };
    let pdf = if cfg!(feature = "pdf") { "+pdf" } else { "" };
    format!("reader {VERSION}{office}{pdf}")
}
