//! What a person sees: numbered steps with their elapsed time, and tables under them.

use std::{
    future::Future,
    io::{Write as _, stdout},
    time::Instant,
};

use crate::support::failure::Result;

const TITLE_WIDTH: usize = 84;

/// Counts the steps.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    steps: u32,
}

impl Screen {
    /// Shows a step, does its work, and shows how long that took.
    pub(crate) async fn step<T>(&mut self, title: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.steps += 1;
        print!("{:>2}  {title:<TITLE_WIDTH$}", self.steps);
        // A terminal that went away must not end the work.
        let _unseen = stdout().flush();
        let start = Instant::now();
        let result = work.await;
        let seconds = start.elapsed().as_secs_f64();
        println!("{seconds:>6.1} s{}", if result.is_ok() { "" } else { "  failed" });
        result
    }

    /// A line of explanation under the step.
    pub(crate) fn note(text: &str) {
        println!("    {text}");
    }

    /// A heading with a block of text under it.
    pub(crate) fn block(heading: &str, text: &str) {
        println!("\n    {heading}");
        for line in text.lines() {
            println!("      {line}");
        }
        println!();
    }
}

/// Columns of a width that fits, with the first row as heading.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}   "));
        cells.collect::<String>().trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
