//! The comparison as text for other programs: Markdown and JSON.

use serde_json::json;

use super::Sheet;
use crate::report;

impl Sheet {
    /// Returns the groups as Markdown tables.
    pub fn markdown(&self) -> String {
        let mut out = report::markdown(&self.grids());
        if !out.is_empty() {
            out.push('\n');
        }
        for line in self.lines_below() {
            out.push_str(&format!("{line}  \n"));
        }
        out
    }

    /// Returns every default of every target as one JSON list.
    pub fn json(&self) -> String {
        let entries = self.rows.iter().flat_map(|row| {
            row.found.iter().map(move |found| {
                json!({
                    "target": row.target,
                    "version": row.version,
                    "measured": row.date,
                    "property": found.property.name,
                    "value": found.value,
                    "how": found.how,
                    "wanted": Some(found.property.wants.words()).filter(|words| !words.is_empty()),
                    "is_conflict": found.is_conflict,
                    "answer": found.answer,
                })
            })
        });
        let list = entries.collect::<Vec<_>>();
        serde_json::to_string_pretty(&list).expect("plain JSON") + "\n"
    }
}
