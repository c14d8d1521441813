//! Fields described from the schema: every one that there is, and what is said of one that is not.

use plimsoll::scenario::explain;

#[test]
fn a_field_is_described_with_what_it_holds() {
    insta::assert_snapshot!("wait", explain("spec.steps.wait").expect("a field"));
    insta::assert_snapshot!("wait_for", explain("spec.steps.wait.for").expect("a field"));
    insta::assert_snapshot!("workload_fill", explain("spec.workloads.fill").expect("a field"));
}

#[test]
fn a_field_that_is_not_there_is_told_with_the_nearest() {
    assert_eq!(
        explain("spec.steps.wiat").expect_err("no field"),
        "`spec.steps` has no field `wiat`\nhelp: did you mean `wait`?"
    );
    assert!(explain("sepc").expect_err("no field").starts_with("a scenario has no field `sepc`"));
    let said = explain("spec.steps.observe.more").expect_err("no field");
    assert!(said.contains("it has none"), "{said}");
}

/// Every field that a description names is described in its turn, and none is without a word.
#[test]
fn every_field_is_described() {
    let mut paths = vec![String::new()];
    let mut seen = 0;
    while let Some(path) = paths.pop() {
        let text = explain(&path).expect("a field that was named");
        let description = text.split("DESCRIPTION:\n").nth(1).unwrap_or_default();
        assert!(description.starts_with("    "), "{path} is not described:\n{text}");
        let fields = text.split("\nFIELDS:\n").nth(1).unwrap_or_default();
        for line in fields.lines().filter(|line| line.starts_with("  ") && !line.starts_with("    ")) {
            let name = line.split_whitespace().next().unwrap_or_default();
            paths.push(if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") });
        }
        seen += 1;
        assert!(seen < 2000, "the format goes round in circles at {path}");
    }
    assert!(seen > 80, "{seen} fields");
}
