//! What a PromQL expression speaks of.

use std::collections::BTreeSet;

use promql_parser::label::Matchers;
use promql_parser::parser::{self, Expr, LabelModifier, VectorSelector};

/// Metrics, and labels that are matched, grouped by or joined on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Spoken {
    pub(crate) metrics: BTreeSet<String>,
    pub(crate) labels: BTreeSet<String>,
}

/// What Grafana puts in by itself stands for something here.
pub(crate) fn spoken(expression: &str) -> Spoken {
    let expression = expression.replace("$__rate_interval", "5m");
    let parsed = parser::parse(&expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
    let mut spoken = Spoken::default();
    spoken.take(&parsed);
    assert!(!spoken.metrics.is_empty(), "{expression} speaks of no metric");
    spoken
}

impl Spoken {
    fn take(&mut self, expression: &Expr) {
        match expression {
            Expr::VectorSelector(selector) => self.select(selector),
            Expr::MatrixSelector(selector) => self.select(&selector.vs),
            Expr::Aggregate(aggregate) => {
                self.modifier(aggregate.modifier.as_ref());
                self.take(&aggregate.expr);
                aggregate.param.iter().for_each(|param| self.take(param));
            }
            Expr::Binary(binary) => {
                self.modifier(binary.modifier.as_ref().and_then(|modifier| modifier.matching.as_ref()));
                self.take(&binary.lhs);
                self.take(&binary.rhs);
            }
            Expr::Unary(unary) => self.take(&unary.expr),
            Expr::Paren(paren) => self.take(&paren.expr),
            Expr::Subquery(subquery) => self.take(&subquery.expr),
            Expr::Call(call) => call.args.args.iter().for_each(|argument| self.take(argument)),
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) => {}
            Expr::Extension(_) => panic!("no expression of Prometheus"),
        }
    }

    fn select(&mut self, selector: &VectorSelector) {
        let name = selector.name.as_ref().expect("every selector names its metric");
        self.metrics.insert(name.clone());
        let Matchers { matchers, or_matchers } = &selector.matchers;
        assert!(or_matchers.is_empty(), "no expression of Prometheus");
        self.labels.extend(matchers.iter().map(|matcher| matcher.name.clone()));
    }

    fn modifier(&mut self, modifier: Option<&LabelModifier>) {
        if let Some(LabelModifier::Include(labels) | LabelModifier::Exclude(labels)) = modifier {
            self.labels.extend(labels.labels.iter().cloned());
        }
    }
}

#[test]
fn names_and_labels_are_found_wherever_they_stand() {
    let said = spoken(
        r#"sum by (role) (rate(a_total{code!="x"}[$__rate_interval])) / on (bank) -b_seconds
           or histogram_quantile(0.9, sum by (le) (c_bucket unless c_bucket offset 5m)) > 2"#,
    );
    assert_eq!(
        said.metrics.iter().map(String::as_str).collect::<Vec<_>>(),
        ["a_total", "b_seconds", "c_bucket"]
    );
    assert_eq!(said.labels.iter().map(String::as_str).collect::<Vec<_>>(), ["bank", "code", "le", "role"]);
}
