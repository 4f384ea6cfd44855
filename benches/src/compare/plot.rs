//! A row as a picture: a bar for each engine, longest is best where it is a rate.

use std::fmt::Write;

/// One engine.
pub(crate) struct Bar {
    pub(crate) name: String,
    pub(crate) value: f64,
    /// The ends of the interval.
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// What is written beside it.
    pub(crate) label: String,
    pub(crate) look: Look,
}

/// Who it is.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Look {
    Ours,
    Limit,
    Peer,
    /// It does less than the others, so it is no peer.
    Weaker,
}

impl Look {
    fn colour(self) -> &'static str {
        match self {
            Look::Ours => "#b5482a",
            Look::Limit => "#3b3b3b",
            Look::Peer => "#6d93b8",
            Look::Weaker => "#cfd8e0",
        }
    }
}

const LINE: f64 = 22.0;
const TOP: f64 = 44.0;
const LEFT: f64 = 120.0;
const LONGEST: f64 = 420.0;
const WIDTH: f64 = 720.0;

/// The picture, as SVG. It looks the same on a dark page, for it brings its own.
pub(crate) fn svg(title: &str, bars: &[Bar]) -> String {
    let most = bars.iter().map(|bar| bar.value.max(bar.high)).fold(f64::MIN_POSITIVE, f64::max);
    let x = |value: f64| LEFT + LONGEST * value / most;
    let height = TOP + LINE * bars.len() as f64 + 12.0;
    let mut out = String::new();
    let mut add = |line: String| writeln!(out, "{line}").expect("a string takes everything");
    add(format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" font-family="Helvetica, Arial, sans-serif" font-size="13">"#
    ));
    add(format!(r##"<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>"##));
    add(format!(r#"<text x="12" y="26" font-size="15" font-weight="bold">{}</text>"#, escape(title)));
    for (number, bar) in bars.iter().enumerate() {
        let top = TOP + LINE * number as f64;
        let (text, middle) = (top + 15.0, top + 10.5);
        let (colour, weight) = (bar.look.colour(), if bar.look == Look::Ours { "bold" } else { "normal" });
        let right = LEFT - 8.0;
        add(format!(
            r#"<text x="{right}" y="{text}" text-anchor="end" font-weight="{weight}">{}</text>"#,
            escape(&bar.name)
        ));
        add(format!(
            r#"<rect x="{LEFT}" y="{}" width="{:.1}" height="15" fill="{colour}"/>"#,
            top + 3.0,
            x(bar.value) - LEFT
        ));
        if bar.high > bar.low {
            let (low, high) = (x(bar.low), x(bar.high));
            add(format!(r##"<path d="M{low:.1} {middle}H{high:.1}" stroke="#111111" stroke-width="1.5"/>"##));
        }
        let beside = x(bar.value.max(bar.high)) + 8.0;
        add(format!(r#"<text x="{beside:.1}" y="{text}" font-weight="{weight}">{}</text>"#, escape(&bar.label)));
    }
    add("</svg>".to_owned());
    out
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(name: &str, value: f64) -> Bar {
        Bar { name: name.to_owned(), value, low: value, high: value, label: String::new(), look: Look::Peer }
    }

    #[test]
    fn the_longest_bar_fills_the_width_and_half_of_it_is_half_as_long() {
        let svg = svg("rates", &[bar("a", 10.0), bar("b", 5.0)]);
        assert!(svg.contains(r#"width="420.0" height="15""#) && svg.contains(r#"width="210.0" height="15""#), "{svg}");
    }

    #[test]
    fn names_are_text_and_no_markup() {
        let svg = svg("a < b & c", &[bar("<script>", 1.0)]);
        assert!(svg.contains("a &lt; b &amp; c") && !svg.contains("<script>"), "{svg}");
    }
}
