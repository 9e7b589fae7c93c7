//! A page of charts and tables, as one HTML file.

use std::fmt::Write;

use super::draw::{Chart, inline};
use super::style;

/// Text as it stands in HTML and SVG. Characters that XML has no place for become a mark.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\t' | '\n' => out.push(c),
            c if c.is_control() || ('\u{fffe}'..='\u{ffff}').contains(&c) => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// A page that grows from top to bottom.
#[derive(Clone, Debug)]
pub struct Page {
    title: String,
    body: String,
}

impl Page {
    /// An empty page.
    #[must_use]
    pub fn new(title: &str) -> Self {
        let title = escape(title);
        let body = format!("<h1>{title}</h1>\n");
        Self { title, body }
    }

    /// Begins a section.
    pub fn section(&mut self, title: &str) {
        let _ = writeln!(self.body, "<h2>{}</h2>", escape(title));
    }

    /// Begins a part of a section.
    pub fn part(&mut self, title: &str) {
        let _ = writeln!(self.body, "<h3>{}</h3>", escape(title));
    }

    /// A paragraph.
    pub fn paragraph(&mut self, text: &str) {
        let _ = writeln!(self.body, "<p>{}</p>", escape(text));
    }

    /// A paragraph in quiet ink.
    pub fn remark(&mut self, text: &str) {
        let _ = writeln!(self.body, "<p class=\"quiet\">{}</p>", escape(text));
    }

    /// A list of what the reader must know; nothing where it is empty.
    pub fn warnings(&mut self, warnings: &[String]) {
        if warnings.is_empty() {
            return;
        }
        let items: String = warnings.iter().map(|w| format!("<li>{}</li>", escape(w))).collect();
        let _ = writeln!(self.body, "<div class=\"warning\" role=\"note\"><ul>{items}</ul></div>");
    }

    /// Numbers with a name each, at a glance.
    pub fn facts(&mut self, facts: &[(&str, String)]) {
        self.body.push_str("<div class=\"facts\">");
        for (name, value) in facts {
            let (name, value) = (escape(name), escape(value));
            let _ = write!(self.body, "<div class=\"panel\"><b>{value}</b>{name}</div>");
        }
        self.body.push_str("</div>\n");
    }

    /// A table. The first column stays in sight where the table is wider than the screen. The part of a cell after a
    /// newline stands below it, small; columns whose heading ends in a space hold words.
    pub fn table(&mut self, heading: &[&str], rows: &[Vec<String>]) {
        let words = |column: usize| heading.get(column).is_some_and(|h| h.ends_with(' '));
        let class = |column| if words(column) { " class=\"words\"" } else { "" };
        self.body.push_str("<div class=\"table\"><table><thead><tr>");
        for (i, name) in heading.iter().enumerate() {
            let _ = write!(self.body, "<th{}>{}</th>", class(i), escape(name.trim()));
        }
        self.body.push_str("</tr></thead><tbody>\n");
        for row in rows {
            self.body.push_str("<tr>");
            for (i, cell) in row.iter().enumerate() {
                let (above, below) = cell.split_once('\n').unwrap_or((cell, ""));
                let _ = write!(self.body, "<td{}>{}", class(i), escape(above));
                if !below.is_empty() {
                    let _ = write!(self.body, "<span class=\"small quiet\">{}</span>", escape(below));
                }
                self.body.push_str("</td>");
            }
            self.body.push_str("</tr>\n");
        }
        self.body.push_str("</tbody></table></div>\n");
    }

    /// Charts beside each other where there is room.
    pub fn figures(&mut self, charts: &[&dyn Chart]) {
        self.body.push_str("<div class=\"figures\">\n");
        for chart in charts {
            let _ = writeln!(self.body, "<figure class=\"panel\">{}</figure>", inline(*chart));
        }
        self.body.push_str("</div>\n");
    }

    /// The file.
    #[must_use]
    pub fn finish(self) -> String {
        let rules = style::of_page() + &style::of_charts();
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>{}</title>\n\
             <style>{rules}</style>\n</head>\n<body>\n{}</body>\n</html>\n",
            self.title, self.body
        )
    }
}
