//! What documents say of finished recipes: README's table, a report a row, and the page of results,
//! each recipe with all of its seeds, then what no recipe is behind.

pub mod brought;
pub mod device;
pub mod page;
mod statistics;
mod summary;
pub mod table;

pub use statistics::Statistics;
pub use summary::{Beside, Run, Summary, folder_of};

use crate::recipe::Failure;
use std::path::Path;
use trainer::files::write_atomically;

const BEGIN: &str = "<!-- results -->\n";
const END: &str = "<!-- /results -->";

/// Fills the part between `<!-- results -->` and `<!-- /results -->` of a document.
///
/// # Errors
/// When the document has no such part, or cannot be read or written.
pub fn fill(document: &Path, results: &str) -> Result<(), Failure> {
    let name = document.display();
    let text = std::fs::read_to_string(document).map_err(|e| format!("cannot read {name}: {e}"))?;
    let filled = filled(&text, results).ok_or_else(|| {
        let begin = BEGIN.trim();
        format!("{name} has no part between {begin} and {END}")
    })?;
    Ok(write_atomically(document, filled.as_bytes())?)
}

/// A document's text with that part filled, if it has one.
pub fn filled(text: &str, results: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{results}{END}{after}"))
}

/// 10711 as 10,711.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let place = |(i, digit): (usize, char)| {
        let comma = i > 0 && (digits.len() - i).is_multiple_of(3);
        comma.then_some(',').into_iter().chain([digit])
    };
    digits.chars().enumerate().flat_map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(
            [0, 999, 1000, 1066440].map(grouped),
            ["0", "999", "1,000", "1,066,440"]
        );
    }

    #[test]
    fn only_the_part_between_the_marks_is_replaced() {
        let text = "a\n<!-- results -->\nold\n<!-- /results -->\nb\n";
        let expected = "a\n<!-- results -->\nnew\n<!-- /results -->\nb\n";
        assert_eq!(filled(text, "new\n").as_deref(), Some(expected));
        assert_eq!(filled("a\n<!-- results -->\nold\n", "new\n"), None);
    }
}
