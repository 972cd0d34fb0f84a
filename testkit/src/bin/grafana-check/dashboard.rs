//! The expressions of a dashboard, as Prometheus gets them from Grafana.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// An expression, and where it stands.
#[derive(Debug)]
pub(crate) struct Expression {
    pub(crate) place: String,
    pub(crate) text: String,
}

/// What Grafana asks to fill a variable: the values of this label in these series.
#[derive(Debug)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) series: String,
    pub(crate) label: String,
}

#[derive(Debug)]
pub(crate) struct Dashboard {
    pub(crate) panels: usize,
    pub(crate) expressions: Vec<Expression>,
    pub(crate) variables: Vec<Variable>,
}

impl Dashboard {
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let whole: Value = serde_json::from_slice(&text)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        let panels = items(&whole["panels"]);
        let mut expressions = Vec::new();
        for panel in panels {
            let title = text_of(&panel["title"])?;
            text_of(&panel["description"]).map_err(|_| format!("{title}: no description"))?;
            text_of(&panel["fieldConfig"]["defaults"]["unit"])
                .map_err(|_| format!("{title}: no unit"))?;
            for target in items(&panel["targets"]) {
                text_of(&target["legendFormat"]).map_err(|_| format!("{title}: no legend"))?;
                expressions.push(Expression {
                    place: format!("{title} {}", text_of(&target["refId"])?),
                    text: filled_in(text_of(&target["expr"])?)?,
                });
            }
        }
        for annotation in items(&whole["annotations"]["list"]) {
            if let Some(text) = annotation["expr"].as_str() {
                expressions.push(Expression {
                    place: format!("annotation {}", text_of(&annotation["name"])?),
                    text: filled_in(text)?,
                });
            }
        }
        let queries = items(&whole["templating"]["list"]).iter();
        let queries = queries.filter(|variable| variable["type"] == "query");
        Ok(Self {
            panels: panels.len(),
            expressions,
            variables: queries.map(variable).collect::<Result<_, _>>()?,
        })
    }
}

fn variable(json: &Value) -> Result<Variable, String> {
    let name = text_of(&json["name"])?.to_owned();
    let query = filled_in(text_of(&json["query"]["query"])?)?;
    // The label is behind the last comma; those before it belong to the series.
    let inner = query
        .strip_prefix("label_values(")
        .and_then(|rest| rest.strip_suffix(')'))
        .and_then(|inner| inner.rsplit_once(", "));
    let (series, label) =
        inner.ok_or_else(|| format!("variable {name}: not understood: {query}"))?;
    Ok(Variable {
        name,
        series: series.to_owned(),
        label: label.to_owned(),
    })
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

fn text_of(value: &Value) -> Result<&str, String> {
    let text = value.as_str().filter(|text| !text.is_empty());
    text.ok_or_else(|| format!("a text is missing, there is {value}"))
}

/// With everything selected, at one scrape a second (Grafana makes `$__rate_interval` at least four scrapes).
fn filled_in(expression: &str) -> Result<String, String> {
    let mut text = expression.to_owned();
    for (variable, value) in [
        ("$__rate_interval", "5s"),
        ("$__interval", "1s"),
        ("$job", ".*"),
        ("$instance", ".*"),
        ("$pool", ".*"),
    ] {
        text = text.replace(variable, value);
    }
    if text.contains('$') {
        return Err(format!("an unknown variable in: {expression}"));
    }
    Ok(text)
}
