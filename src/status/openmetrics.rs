//! The status as text for Prometheus, in both of its formats.

use std::fmt::Write;

use crate::status::{
    Status,
    families::{self, Family, Kind, Labels, Sink},
    histogram::Histogram,
};

/// The upper bounds of a histogram's buckets in seconds, in the way in which Prometheus' own clients write
/// them. It tells series apart by this text.
const BOUNDS: [&str; 22] = [
    "1e-05", "2e-05", "5e-05", "0.0001", "0.0002", "0.0005", "0.001", "0.002", "0.005", "0.01",
    "0.02", "0.05", "0.1", "0.2", "0.5", "1.0", "2.0", "5.0", "10.0", "30.0", "60.0", "+Inf",
];

impl Status {
    /// Everything as text in the OpenMetrics format, for Prometheus and what reads the same.
    ///
    /// Serve it as `application/openmetrics-text; version=1.0.0; charset=utf-8`. Every family of numbers is
    /// there in every state of the pool, in the same order, apart from those about single nodes.
    ///
    /// Names are those of OpenTelemetry's conventions for connection pools (`db_client_connection_…`), those
    /// that the official Redis clients share (`redis_client_…`), and our own (`redis_rw_pool_…`). Times are in
    /// seconds. The pools are called `mymaster/write` and `mymaster/read`, the connections of multiplexed
    /// handles `mymaster/writer` and `mymaster/reader`, after [`name`](Self::name). Labels are never made of
    /// keys, values or error texts; the text of the sign because of which writes are held back is one.
    ///
    /// ```no_run
    /// # fn example(pool: redis_rw_pool::Pool) {
    /// let body = pool.status().openmetrics();
    /// assert!(body.ends_with("# EOF\n"));
    /// # }
    /// ```
    ///
    /// It has some 43 kB and takes some 60 us. The addresses of all nodes are in it, so serve it where only
    /// your own network can read it.
    pub fn openmetrics(&self) -> String {
        let mut text = self.text(Format::OpenMetrics);
        text.push_str("# EOF\n");
        text
    }

    /// The same numbers in Prometheus' older text format, for what does not read OpenMetrics: agents,
    /// gateways, and `promtool check metrics`, which accepts it without a remark.
    ///
    /// Serve it as `text/plain; version=0.0.4; charset=utf-8` to those whose `Accept` does not name
    /// `application/openmetrics-text`. Samples have the names, labels and values that they have in
    /// [`openmetrics`](Self::openmetrics); what differs are the lines about them. So a query finds the same,
    /// whichever was scraped.
    ///
    /// ```no_run
    /// # fn example(pool: redis_rw_pool::Pool, accept: &str) -> (&'static str, String) {
    /// let status = pool.status();
    /// if accept.contains("application/openmetrics-text") {
    ///     let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ///     (kind, status.openmetrics())
    /// } else {
    ///     ("text/plain; version=0.0.4; charset=utf-8", status.prometheus())
    /// }
    /// # }
    /// ```
    pub fn prometheus(&self) -> String {
        self.text(Format::Plain)
    }

    fn text(&self, format: Format) -> String {
        let mut text = Text {
            out: String::with_capacity(48 << 10),
            format,
        };
        families::visit(self, &mut text);
        text.out
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    OpenMetrics,
    /// 0.0.4, in which a family is called as its samples are.
    Plain,
}

struct Text {
    out: String,
    format: Format,
}

impl Text {
    fn sample(&mut self, name: &str, suffix: &str, labels: Labels<'_>, le: Option<&str>) {
        let out = &mut self.out;
        out.push_str(name);
        out.push_str(suffix);
        let le = le.map(|le| ("le", le));
        let mut before = '{';
        for (name, value) in labels.iter().copied().chain(le) {
            out.push(before);
            out.push_str(name);
            out.push_str("=\"");
            escape(value, out);
            out.push('"');
            before = ',';
        }
        if before == ',' {
            out.push('}');
        }
    }
}

impl Sink for Text {
    fn family(&mut self, family: &Family) {
        let Family { name, help, .. } = family;
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let out = &mut self.out;
        if self.format == Format::Plain {
            let suffix = family.suffix();
            // promtool keeps `_count` for histograms, and has no rule for what is untyped. The name is
            // OpenTelemetry's.
            let is_reserved = family.kind == Kind::Gauge && name.ends_with("_count");
            let kind = if is_reserved { "untyped" } else { kind };
            let _ = writeln!(out, "# HELP {name}{suffix} {help}");
            let _ = writeln!(out, "# TYPE {name}{suffix} {kind}");
            return;
        }
        let _ = writeln!(out, "# TYPE {name} {kind}");
        if let Some(unit) = family.unit() {
            let _ = writeln!(out, "# UNIT {name} {unit}");
        }
        let _ = writeln!(out, "# HELP {name} {help}");
    }

    fn integer(&mut self, family: &Family, labels: Labels<'_>, value: u64) {
        self.sample(family.name, family.suffix(), labels, None);
        let _ = writeln!(self.out, " {value}");
    }

    fn float(&mut self, family: &Family, labels: Labels<'_>, value: f64) {
        self.sample(family.name, family.suffix(), labels, None);
        let _ = writeln!(self.out, " {value}");
    }

    fn histogram(&mut self, family: &Family, labels: Labels<'_>, value: &Histogram) {
        for (bound, (_, count)) in BOUNDS.into_iter().zip(value.buckets()) {
            self.sample(family.name, "_bucket", labels, Some(bound));
            let _ = writeln!(self.out, " {count}");
        }
        self.sample(family.name, "_count", labels, None);
        let _ = writeln!(self.out, " {}", value.count());
        self.sample(family.name, "_sum", labels, None);
        let _ = writeln!(self.out, " {}", value.sum().as_secs_f64());
    }
}

/// Appends the value of a label. These three characters would end it, or the line.
fn escape(value: &str, out: &mut String) {
    if !value.contains(['\\', '"', '\n']) {
        out.push_str(value);
        return;
    }
    for character in value.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests;
