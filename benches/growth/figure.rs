//! Numbers as a reader wants them: three digits that count, and the unit.

/// A number of things.
pub(crate) fn count(value: f64) -> String {
    grouped(value)
}

/// A plain number: `0.123`, `1.23`, `12.3`, `123`, `12 345`.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        100.0.. => grouped(value),
        10.0.. => format!("{value:.1}"),
        0.000_5..1.0 => format!("{value:.3}"),
        _ => format!("{value:.2}"),
    }
}

/// A whole number of bytes in the unit that suits it.
pub(crate) fn bytes(value: f64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let mut value = value;
    let mut units = UNITS.iter();
    let mut unit = units.next().expect("there are four");
    while value.abs() >= 1024.0 {
        let Some(larger) = units.next() else { break };
        value /= 1024.0;
        unit = larger;
    }
    let digits = usize::from(*unit != "B" && value.abs() < 100.0 && value.fract() != 0.0);
    format!("{value:.digits$} {unit}")
}

/// Digits in groups of three.
fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::from(if value < 0.0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}
