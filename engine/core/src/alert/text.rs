//! The texts for people: the subject of an e-mail, its body, and a text message.
//!
//! This file owns the wording. It does *not* own who gets which text.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::{Alert, Direction, Kind, State};

/// The longest subject that SNS takes, in ASCII characters.
const SUBJECT_MAX: usize = 100;

/// The most characters that fit into one text message.
const SMS_MAX: usize = 160;

impl Alert {
    /// The subject of an e-mail: at most 100 printable ASCII characters.
    #[must_use]
    pub fn subject(&self) -> String {
        ascii(&format!("{}: {}", self.severity.as_str(), self.headline()), SUBJECT_MAX)
    }

    /// One line for a text message: at most 160 printable ASCII characters.
    #[must_use]
    pub fn sms(&self) -> String {
        let time = time_of(self.ts_us).strftime("%T").to_string();
        ascii(&format!("{} at {time} UTC ({})", self.headline(), self.severity.as_str()), SMS_MAX)
    }

    /// The body of an e-mail.
    #[must_use]
    pub fn email(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write_email(&mut text);
        text
    }

    fn write_email(&self, text: &mut String) -> std::fmt::Result {
        let time = |us| time_of(us).strftime("%F %T%.3f UTC").to_string();
        writeln!(text, "{}\n", self.headline())?;
        writeln!(text, "{}\n", self.explanation())?;
        writeln!(text, "time      {}", time(self.ts_us))?;
        writeln!(text, "certain   {}", time(self.detected_at_us))?;
        writeln!(text, "severity  {}", self.severity.as_str())?;
        if self.kind != Kind::Gap {
            writeln!(text, "score     {}, alerted from {}", number(self.score), number(self.threshold))?;
        }
        writeln!(text, "window    {}", self.window)?;
        if self.suppressed > 0 {
            writeln!(text, "more      {} of the same event, not reported one by one", self.suppressed)?;
        }
        writeln!(text, "event     {}", self.event)?;
        if !self.ticks.is_empty() {
            writeln!(text, "\nThe last ticks:")?;
            for tick in &self.ticks {
                let at = time_of(tick.ts_us).strftime("%T%.3f").to_string();
                writeln!(text, "  {at}  {:>14}  {:>12}", number(tick.price), number(tick.volume))?;
            }
        }
        write!(text, "\nIn the lake:\n  {}\n", self.query())
    }

    /// What happened, in one line.
    fn headline(&self) -> String {
        let what = match self.state {
            State::Open => "",
            State::Update => "worse: ",
            State::Close => "over: ",
        };
        let (symbol, observed, expected) = (self.symbol_text(), number(self.observed), number(self.expected));
        let direction = self.direction.as_str();
        let said = match self.kind {
            _ if self.is_of_market() => format!("{} {direction} in {observed} symbols at once", self.name()),
            Kind::Overflow => format!("{observed} alerts in a minute, {} of them only in the lake", self.suppressed),
            Kind::Gap => format!("{symbol} silent for {observed} s, usually {expected} s"),
            Kind::Threshold => format!("{symbol} at {observed}, {} the line at {expected}", self.side()),
            Kind::LimitBand => format!("{symbol} at {observed}, {} its limit band, {expected}", self.side()),
            Kind::Clock => format!("{symbol} has event times {observed} s {}", self.ahead()),
            Kind::Spike | Kind::LevelShift | Kind::Move => {
                format!("{symbol} {} {direction} at {observed}, from {expected}", self.name())
            }
            Kind::Volatility | Kind::Volume => format!("{symbol} {}: {observed}, usually {expected}", self.name()),
        };
        format!("{what}{said}")
    }

    fn explanation(&self) -> &'static str {
        match self.kind {
            _ if self.is_of_market() => {
                "The same happened to many symbols within ten seconds. Their alerts are not published one by one."
            }
            Kind::Spike => {
                "One or a few prices were far from the ones around them: a bad print, or a trade away from the market."
            }
            Kind::LevelShift => "The price jumped and stayed at its new level.",
            Kind::Threshold => "The price crossed a configured line.",
            Kind::Move => "The price moved further within a minute than usual.",
            Kind::Volatility => "For most of a minute, price changes were larger than usual.",
            Kind::Volume => "For half a minute, trades were larger than usual.",
            Kind::Gap => "Nothing was traded, or nothing was received, for an unusually long time.",
            Kind::LimitBand => "Prices left the band around their mean of five minutes.",
            Kind::Clock => "A producer's clock is wrong, or ticks arrived late.",
            Kind::Overflow => "There were more alerts than are published one by one.",
        }
    }

    fn name(&self) -> &'static str {
        match self.kind {
            Kind::LevelShift => "level shift",
            Kind::LimitBand => "limit band",
            kind => kind.as_str(),
        }
    }

    fn symbol_text(&self) -> &str {
        if &*self.symbol == "*" { "the whole feed" } else { &self.symbol }
    }

    fn side(&self) -> &'static str {
        if self.direction == Direction::Up { "above" } else { "below" }
    }

    fn ahead(&self) -> &'static str {
        if self.direction == Direction::Up { "in the future" } else { "behind" }
    }
}

fn time_of(us: i64) -> Timestamp {
    Timestamp::from_microsecond(us).unwrap_or_default()
}

/// A number with six significant digits, as a person would write it.
fn number(value: f64) -> String {
    if value != 0.0 && !(1e-6..1e15).contains(&value.abs()) {
        return format!("{value:.3e}");
    }
    let digits = if value == 0.0 { 0 } else { value.abs().log10().floor() as i32 };
    let decimals = (5 - digits).clamp(0, 10) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn ascii(text: &str, most: usize) -> String {
    text.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::alert;
    use super::*;

    #[test]
    fn people_are_told_what_happened_when_and_how_bad_it_is() {
        assert_eq!(alert().subject(), "warning: AAPL spike up at 201.5, from 189.37");
        assert_eq!(alert().sms(), "AAPL spike up at 201.5, from 189.37 at 14:00:00 UTC (warning)");
        let email = alert().email();
        for expected in [
            "AAPL spike up at 201.5, from 189.37\n",
            "a bad print",
            "time      2026-11-23 14:00:00.000 UTC",
            "score     57.76, alerted from 8",
            "  14:00:00.000           201.5           300",
            "SELECT ts, symbol, price, volume FROM ticks WHERE symbol = 'AAPL'",
        ] {
            assert!(email.contains(expected), "{email}\ndoes not say {expected}");
        }
    }

    #[test]
    fn every_kind_and_state_has_its_words() {
        for kind in Kind::ALL {
            for (state, symbol) in [(State::Open, "AAPL"), (State::Update, "AAPL"), (State::Close, "*")] {
                let alert = Alert { kind, state, symbol: symbol.into(), suppressed: 3, ..alert() };
                let subject = alert.subject();
                assert_eq!(subject.contains("over: "), state == State::Close, "{subject}");
                assert!(alert.email().contains("more      3 of"), "{}", alert.email());
            }
        }
        let gap = Alert { kind: Kind::Gap, symbol: "*".into(), observed: 30.0, expected: 1.25, ..alert() };
        assert_eq!(gap.subject(), "warning: the whole feed silent for 30 s, usually 1.25 s");
        let market = Alert { event: "market-gap-down-*-1".to_owned(), direction: Direction::Down, ..gap };
        assert_eq!(market.subject(), "warning: gap down in 30 symbols at once");
    }

    #[test]
    fn subject_is_short_printable_ascii_whatever_the_symbol() {
        let odd = Alert { symbol: format!("ü\n{}", "X".repeat(200)).into(), ..alert() };
        assert_eq!(odd.subject().len(), SUBJECT_MAX);
        assert!(odd.subject().starts_with("warning: ??XX"), "{}", odd.subject());
        assert_eq!(odd.sms().len(), SMS_MAX);
    }

    #[test]
    fn numbers_have_six_digits() {
        let cases = [
            (0.0, "0"),
            (189.37, "189.37"),
            (0.000_081_234_56, "0.0000812346"),
            (50_123_456.0, "50123456"),
            (1e300, "1.000e300"),
            (-2.5, "-2.5"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }
}
