//! Reading documents: what they may be, and what is said of those that are not.

use plimsoll::explain::{Documents, InputError, LeftOut, Look};
use plimsoll_eviction::layout::FilesystemLayout;

use crate::{document, documents, example, folder, read};

fn refused(change: impl FnOnce(&mut Documents)) -> InputError {
    let mut documents = example();
    change(&mut documents);
    Look::read(&documents, None, None).expect_err("not what it should be")
}

fn names(look: &Look) -> Vec<String> {
    look.pods.iter().map(plimsoll_eviction::pod::Pod::full_name).collect()
}

#[test]
fn the_pods_that_count_are_the_node_s_own_and_have_not_ended() {
    let look = read(&example());
    assert_eq!(look.node.as_deref(), Some("worker-3"));
    assert_eq!(look.left_out, LeftOut { elsewhere: 1, unscheduled: 1, ended: 1 });
    assert_eq!(look.pods.len(), 8);
    assert!(!names(&look).contains(&"shop/web-2".to_owned()), "it is on another node");
}

#[test]
fn the_node_that_is_named_must_be_that_of_the_statistics() {
    let error = Look::read(&example(), Some("worker-1"), None).expect_err("another node");
    assert_eq!(error.field, "node.nodeName");
    let mut unnamed = example();
    unnamed.summary.text = unnamed.summary.text.replace("\"nodeName\": \"worker-3\",", "");
    let look = Look::read(&unnamed, Some("worker-1"), None).expect("a look");
    assert_eq!(names(&look), ["shop/web-2"]);
}

#[test]
fn a_kubelet_s_own_answer_serves_as_its_configuration() {
    let mut documents = example();
    documents.configuration.text =
        r#"{"kubeletconfig":{"evictionHard":{"memory.available":"300Mi"},"evictionPressureTransitionPeriod":"5m0s","maxPods":110}}"#
            .to_owned();
    let look = read(&documents);
    assert_eq!(look.explain().thresholds.len(), 2, "memory.available, and its copy for allocatable memory");
    assert_eq!(look.warnings, Vec::<String>::new());
}

#[test]
fn the_layout_is_seen_or_asked_for() {
    assert_eq!(read(&example()).layout, FilesystemLayout::Single);
    let given = Look::read(&example(), None, Some(FilesystemLayout::Split)).expect("a look");
    assert_eq!(given.layout, FilesystemLayout::Split);
    let error = refused(|documents| documents.summary.text = r#"{"node":{},"pods":[]}"#.to_owned());
    assert!(error.help.contains("--layout single"), "{error}");
}

#[test]
fn a_misspelt_field_is_pointed_out() {
    let mut documents = example();
    documents.configuration.text.push_str("evictionSofft: {}\n");
    assert_eq!(
        read(&documents).warnings,
        [
            "kubelet.yaml: evictionSofft: no field of KubeletConfiguration, so the kubelet passes over it (is evictionSoft \
             meant?)"
        ]
    );
}

#[test]
fn mistakes_are_named_with_file_and_field_and_place() {
    let swap = |from: &'static str, to: &'static str| {
        move |text: &mut String| {
            assert!(text.contains(from), "{from}");
            *text = text.replacen(from, to, 1);
        }
    };
    type Change = Box<dyn Fn(&mut Documents)>;
    let pods = |from, to| -> Change { Box::new(move |it| swap(from, to)(&mut it.pods.text)) };
    let summary = |from, to| -> Change { Box::new(move |it| swap(from, to)(&mut it.summary.text)) };
    let kubelet = |from, to| -> Change { Box::new(move |it| swap(from, to)(&mut it.configuration.text)) };
    let cases = [
        (
            pods("\"memory\": \"256Mi\"", "\"memory\": \"256MB\""),
            "pods.json",
            ".spec.containers[0].resources.requests.memory",
        ),
        (pods("\"kind\": \"Pod\"", "\"kind\": \"Service\""), "pods.json", "items[0].kind"),
        (pods("\"items\"", "\"things\""), "pods.json", ""),
        (pods("{", ""), "pods.json", ""),
        (summary("\"workingSetBytes\": ", "\"workingSetBytes\": -"), "summary.json", "workingSetBytes"),
        (summary("2026-03-02T09:30:06Z", "half past nine"), "summary.json", "time"),
        (
            kubelet("memory.available: 300Mi", "memory.available: 300"),
            "kubelet.yaml",
            "evictionHard.memory.available",
        ),
        (kubelet("evictionHard:\n", "evictionHard: 7\n"), "kubelet.yaml", ""),
        (
            kubelet("evictionHard:", "evictionMaxPodGracePeriod: soon\nevictionHard:"),
            "kubelet.yaml",
            "evictionMaxPodGracePeriod",
        ),
        (kubelet("KubeletConfiguration", "KubeProxyConfiguration"), "kubelet.yaml", "kind"),
    ];
    let mut said = String::new();
    for (change, document, field) in cases {
        let error = refused(change);
        assert_eq!(error.document, document, "{error}");
        assert!(error.field.ends_with(field), "{field}: {error}");
        said.push_str(&format!("{error}\n\n"));
    }
    insta::assert_snapshot!(said);
}

#[test]
fn a_summary_is_no_pod_list() {
    let error = refused(|it| it.pods = document(&folder("docs/explain-example"), "summary.json"));
    assert!(error.to_string().contains("missing field `items`"), "{error}");
    let error = refused(|it| it.summary = document(&folder("docs/explain-example"), "pods.json"));
    assert!(error.to_string().contains("missing field `node`"), "{error}");
}

#[test]
fn a_list_without_nodes_counts_as_it_is() {
    let mut without = documents(&folder("harness/eviction/tests/corpus/looks/s5-0000"));
    let text = without.pods.text.replace("\"nodeName\":\"node\"", "\"nodeName\":\"\"");
    assert_ne!(text, without.pods.text);
    without.pods.text = text;
    let look = Look::read(&without, None, Some(FilesystemLayout::Single)).expect("a look");
    assert_eq!(look.left_out, LeftOut::default());
}
