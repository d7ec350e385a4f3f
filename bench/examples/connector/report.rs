//! Collects figures and shows their medians, a column for each mode.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::modes::Mode;

const TITLE_WIDTH: usize = 42;

/// One run of one mode: titles and figures, in the order of the report.
#[derive(Default)]
pub(crate) struct Figures(Vec<(String, f64)>);

impl Figures {
    pub(crate) fn add(&mut self, title: impl Into<String>, figure: f64) {
        self.0.push((title.into(), figure));
    }
}

/// All runs of all modes.
#[derive(Default)]
pub(crate) struct Report {
    titles: Vec<String>,
    figures: BTreeMap<(&'static str, String), Vec<f64>>,
}

impl Report {
    pub(crate) fn add(&mut self, mode: &'static str, figures: Figures) {
        for (title, figure) in figures.0 {
            if !self.titles.contains(&title) {
                self.titles.push(title.clone());
            }
            self.figures.entry((mode, title)).or_default().push(figure);
        }
    }

    /// The table; a mode that failed has no figures.
    pub(crate) fn table(&self, modes: &[&Mode]) -> String {
        let mut table = String::new();
        let mut line = |title: &str, cells: &mut dyn Iterator<Item = String>| {
            let cells: String = cells.map(|cell| format!(" {cell} |")).collect();
            writeln!(table, "| {title:TITLE_WIDTH$} |{cells}").expect("writing to a string cannot fail");
        };
        let width = |mode: &Mode| mode.name.len().max(9);
        line(
            "",
            &mut modes.iter().map(|mode| format!("{:>1$}", mode.name, width(mode))),
        );
        line(
            &"-".repeat(TITLE_WIDTH),
            &mut modes.iter().map(|mode| "-".repeat(width(mode) - 1) + ":"),
        );
        for title in &self.titles {
            let cell = |mode: &&Mode| {
                let figures = self.figures.get(&(mode.name, title.clone()));
                let text = figures.map_or_else(String::new, |figures| show(median(figures)));
                format!("{text:>0$}", width(mode))
            };
            line(title, &mut modes.iter().map(cell));
        }
        table
    }
}

/// Of an even count, the mean of the two in the middle.
fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    }
}

/// Three digits that count, or all of a large one.
fn show(figure: f64) -> String {
    match figure {
        figure if figure >= 100.0 || figure == 0.0 => format!("{figure:.0}"),
        figure if figure >= 10.0 => format!("{figure:.1}"),
        figure => format!("{figure:.2}"),
    }
}
