//! What people are told.

use plimsoll::explain::{Documents, Next, When};

use crate::{render, told};

fn memory_is(available: u64) -> impl FnOnce(&mut Documents) {
    move |documents| {
        let text = &mut documents.summary.text;
        let own = (278 << 20) + (512 << 10);
        *text =
            text.replace(&format!("\"availableBytes\": {own}"), &format!("\"availableBytes\": {available}"));
    }
}

fn with_kubelet(text: &str) -> impl FnOnce(&mut Documents) + use<'_> {
    move |documents| documents.configuration.text = text.to_owned()
}

/// The lines of a section.
fn section(text: &str, title: &str) -> String {
    let lines = text.lines().skip_while(|line| *line != title).skip(1);
    lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_hard_threshold_that_is_met() {
    let (explanation, text) = told(|_| ());
    assert_eq!(explanation.next[0], Next::First { order: 0, when: When::Now });
    insta::assert_snapshot!(text);
}

#[test]
fn a_soft_threshold_alone_waits() {
    let (_, text) = told(memory_is(400 << 20));
    insta::assert_snapshot!(section(&text, "Next"), @r"
    shop/cart-6f9 goes once that has lasted 1m30s: memory.available is 400Mi, 100Mi below its soft
    threshold of 500Mi
      over its request by 444Mi; the next, batch/report, by 210Mi
    ");
}

#[test]
fn no_threshold_is_met() {
    let (explanation, text) = told(memory_is(1 << 30));
    assert_eq!(explanation.next, []);
    insta::assert_snapshot!(text);
}

#[test]
fn a_limit_on_local_storage_comes_before_any_threshold() {
    let (explanation, text) = told(|documents| {
        let used = format!("\"usedBytes\": {}", 461 << 20);
        documents.summary.text =
            documents.summary.text.replace(&used, &format!("\"usedBytes\": {}", 600 << 20));
    });
    assert_eq!(explanation.next[0], Next::OverLimits(vec!["batch/report".to_owned()]));
    insta::assert_snapshot!(format!(
        "{}\n{}",
        section(&text, "Next"),
        section(&text, "Limits on local storage")
    ));
    assert!(text.contains("Usage of EmptyDir volume \"scratch\" exceeds the limit \"500Mi\"."), "{text}");
    let (explanation, _) = told(|documents| {
        let used = format!("\"usedBytes\": {}", 461 << 20);
        documents.summary.text =
            documents.summary.text.replace(&used, &format!("\"usedBytes\": {}", 600 << 20));
        documents.configuration.text.push_str("localStorageCapacityIsolation: false\n");
    });
    assert_eq!(explanation.next[0], Next::First { order: 0, when: When::Now }, "it is not enforced");
}

#[test]
fn disks_are_cleaned_before_pods_go() {
    let (_, text) = told(with_kubelet("evictionHard: {nodefs.available: 80%, nodefs.inodesFree: 95%}"));
    insta::assert_snapshot!(section(&text, "Next"), @r"
    shop/search-0 goes: containerfs.available is 31744Mi, 1024Mi below its threshold of 32768Mi;
    nodefs.available is 31744Mi, 1024Mi below its threshold of 32768Mi
      over its request by 601Mi; the next, batch/report, by 474Mi
      before that the kubelet deletes dead containers and unused images; if that is enough, nobody goes
    shop/search-0 goes: containerfs.inodesFree is 2400000, 90367 below its threshold of 2490367;
    nodefs.inodesFree is 2400000, 90367 below its threshold of 2490367
      5201 inodes; the next, batch/export-a or batch/export-b, has 901
      before that the kubelet deletes dead containers and unused images; if that is enough, nobody goes
    which of these signals the kubelet takes first is open; it evicts one pod and looks again
    ");
}

#[test]
fn pods_that_are_equal_are_shown_as_equal() {
    let (_, text) = told(|_| ());
    let order = section(&text, "Order for memory.available");
    let equals: Vec<&str> = order.lines().filter(|line| line.trim_start().starts_with("3= ")).collect();
    assert_eq!(equals.len(), 2, "{order}");
}

#[test]
fn nobody_can_go_when_all_are_exempt() {
    let (_, text) = told(|documents| {
        documents.pods.text = documents.pods.text.replace("\"priority\": 0", "\"priority\": 2000000000");
        documents.pods.text = documents.pods.text.replace("\"priority\": 1000", "\"priority\": 2000000000");
    });
    assert!(section(&text, "Next").contains("nobody can go, although memory.available is"), "{text}");
    assert!(section(&text, "Never evicted").contains("shop/cart-6f9"), "{text}");
}

#[test]
fn a_configuration_that_is_refused_says_why_and_nothing_more() {
    let (explanation, text) = told(with_kubelet("evictionSoft: {memory.available: 500Mi}"));
    let reason = "grace period must be specified for the soft eviction threshold memory.available";
    assert_eq!(explanation.refusal.as_deref(), Some(reason));
    assert!(section(&text, "Next").contains("a kubelet does not start with this configuration"), "{text}");
    assert!(!text.contains("Thresholds") && !text.contains("Order for"), "{text}");
}

#[test]
fn a_long_order_is_cut() {
    let (explanation, _) = told(|_| ());
    let text = render(&explanation, 2);
    assert!(text.contains(" and 4 pods more"), "{text}");
    assert!(!section(&text, "What each would be told").contains("search-0"), "{text}");
}

#[test]
fn figures_that_look_the_same_are_told_to_the_last_digit() {
    let (_, text) = told(|documents| {
        // 120Mi and a byte more: both are 120Mi when rounded.
        let text = &mut documents.summary.text;
        *text = text.replacen("\"workingSetBytes\": 125829120", "\"workingSetBytes\": 125829121", 2);
    });
    assert!(text.contains("over its request by 125829121;"), "{text}");
}
