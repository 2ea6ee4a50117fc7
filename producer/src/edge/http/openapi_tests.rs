use std::collections::BTreeSet;

use super::super::form;
use super::*;

fn parsed() -> Value {
    serde_json::from_str(document()).expect("JSON")
}

/// Every member of `form` with its path, down to the leaves of objects.
fn leaves(form: &Value, path: &str, found: &mut BTreeSet<String>) {
    for (name, value) in form.as_object().into_iter().flatten() {
        let path = format!("{path}/{name}");
        leaves(value, &path, found);
        found.insert(path);
    }
}

#[test]
fn the_committed_document_is_the_one_of_the_code() {
    let committed = include_str!("../../../../docs/openapi/producer.json");
    assert!(
        committed == document(),
        "run: cargo run -p producer --bin producer -- openapi > docs/openapi/producer.json"
    );
}

#[test]
fn the_example_of_a_query_is_one_that_is_taken() {
    let document = parsed();
    let body = &document["paths"]["/v1/queries"]["post"]["requestBody"]["content"]["application/json"];
    let read = form::read(body["example"].to_string().as_bytes()).expect("taken");
    assert_eq!(read.query.to_string(), body["example"]["query_id"]);
}

#[test]
fn every_documented_field_of_a_query_is_needed_and_no_other_is_taken() {
    let mut paths = BTreeSet::new();
    leaves(&example(), "", &mut paths);
    assert_eq!(paths.len(), 9 + 2 + 5 + 8 + 4);
    for path in &paths {
        let (parent, name) = path.rsplit_once('/').expect("a path");
        let mut without = example();
        without.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object").remove(name);
        let read = form::read(without.to_string().as_bytes());
        let optional = path == "/risk/pretext";
        assert_eq!(read.is_ok(), optional, "without {path}");
        let mut with = example();
        with.pointer_mut(parent).expect("an object")[format!("{name}_x")] = json!(1);
        let refused = form::read(with.to_string().as_bytes()).expect_err("an unknown field");
        assert_eq!(refused.code, "UNKNOWN_FIELD", "beside {path}");
    }
}

#[test]
fn the_schema_of_a_query_has_the_fields_of_the_example_and_takes_no_other() {
    let document = parsed();
    let schemas = &document["components"]["schemas"];
    let example = example();
    for (form, value) in [
        ("QueryForm", &example),
        ("AssuranceForm", &example["assurance"]),
        ("FactorForm", &example["assurance"]["factors"][0]),
        ("RiskForm", &example["risk"]),
        ("ConsentForm", &example["consent"]),
        ("IdentityForm", &example["identity"]),
    ] {
        let schema = &schemas[form];
        let names =
            |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(names(&schema["properties"]), names(value), "{form}");
        assert_eq!(schema["additionalProperties"], json!(false), "{form}");
    }
}

#[test]
fn every_operation_has_a_summary_and_its_problems_say_which_codes() {
    let document = parsed();
    assert_eq!(document["openapi"], "3.1.0");
    let mut operations = 0;
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            operations += 1;
            assert!(operation["summary"].is_string(), "{method} {path}");
            for (status, response) in operation["responses"].as_object().expect("responses") {
                if status.as_str() < "400" {
                    continue;
                }
                let examples = &response["content"]["application/problem+json"]["examples"];
                for (code, example) in examples.as_object().expect("examples") {
                    assert_eq!(example["value"]["status"].to_string(), *status, "{method} {path} {code}");
                }
            }
        }
    }
    assert_eq!(operations, 9);
}
