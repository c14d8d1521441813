//! Why an API server did not give what was asked for, and what to do about it.

use kube::core::Status;

/// What is asked of the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// The pods of the node.
    Pods,
    /// The kubelet's statistics, through the node proxy.
    Summary,
    /// The kubelet's configuration, through the node proxy.
    Configuration,
}

/// Why there was no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The user lacks a right.
    #[error(
        "this user may not {verb} {resource}: {said}\nhelp: the rule that is missing is {{apiGroups: [\"\"], resources: \
         [\"{resource}\"], verbs: [\"{verb}\"]}}, in a ClusterRole that is bound to the user by a ClusterRoleBinding \
         (kubectl create clusterrole plimsoll-explain-{name} --verb={verb} --resource={resource})"
    )]
    Forbidden {
        /// The verb.
        verb: &'static str,
        /// The resource.
        resource: &'static str,
        /// Fit for a part of a role's name.
        name: &'static str,
        /// What the API server said.
        said: String,
    },
    /// The API server does not know the user.
    #[error(
        "the API server does not accept the credentials: {said}\nhelp: log in again, or give another --context"
    )]
    Unauthorized {
        /// What it said.
        said: String,
    },
    /// There is no such node.
    #[error("there is no node {node}: {said}\nhelp: `kubectl get nodes` with the same context lists them")]
    NoSuchNode {
        /// The node.
        node: String,
        /// What the API server said.
        said: String,
    },
    /// The kubelet did not answer the API server as it should.
    #[error(
        "the API server got no proper answer from the kubelet of {node}: {said}\nhelp: see whether the node is Ready and its \
         port 10250 can be reached from the control plane"
    )]
    Kubelet {
        /// The node.
        node: String,
        /// What the API server or the kubelet said.
        said: String,
    },
    /// The API server could not be reached, or not understood.
    #[error(
        "the API server can not be asked: {0}\nhelp: see whether `kubectl get --raw /readyz` works with the same context"
    )]
    Connection(String),
    /// Something else.
    #[error("the API server refused ({code}): {said}")]
    Other {
        /// The HTTP status code.
        code: u16,
        /// What the API server said.
        said: String,
    },
}

impl Refusal {
    /// What an error of the client means when this was asked of this node.
    #[must_use]
    pub fn new(asked: Asked, node: &str, error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::of_status(asked, node, status),
            other => Self::Connection(causes(other)),
        }
    }

    fn of_status(asked: Asked, node: &str, status: &Status) -> Self {
        let said = status.message.trim().to_owned();
        let node = node.to_owned();
        match (status.code, asked) {
            (401, _) => Self::Unauthorized { said },
            // The kubelet's own refusal has this form, and is about the API server's rights, not the user's.
            (403, Asked::Summary | Asked::Configuration) if said.starts_with("Forbidden (user=") => {
                Self::Kubelet { node, said }
            }
            (403, Asked::Pods) => Self::Forbidden { verb: "list", resource: "pods", name: "pods", said },
            (403, Asked::Summary | Asked::Configuration) => {
                Self::Forbidden { verb: "get", resource: "nodes/proxy", name: "proxy", said }
            }
            (404, Asked::Summary | Asked::Configuration) if status.reason == "NotFound" => {
                Self::NoSuchNode { node, said }
            }
            (404 | 405 | 500 | 502 | 503 | 504, Asked::Summary | Asked::Configuration) => {
                Self::Kubelet { node, said }
            }
            (code, _) => Self::Other { code, said },
        }
    }
}

/// An error and what it came from, each once.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(asked: Asked, code: u16, reason: &str, message: &str) -> String {
        let status = Status::failure(message, reason).with_code(code);
        Refusal::new(asked, "worker", &kube::Error::Api(status.boxed())).to_string()
    }

    #[test]
    fn the_missing_rule_is_named() {
        let message = "nodes \"worker\" is forbidden: User \"reader\" cannot get resource \"nodes/proxy\"";
        for asked in [Asked::Summary, Asked::Configuration] {
            let text = refusal(asked, 403, "Forbidden", message);
            assert!(
                text.contains(r#"{apiGroups: [""], resources: ["nodes/proxy"], verbs: ["get"]}"#),
                "{text}"
            );
            assert!(text.contains("--verb=get --resource=nodes/proxy"), "{text}");
            assert!(text.contains("User \"reader\""), "{text}");
        }
        let text = refusal(Asked::Pods, 403, "Forbidden", "pods is forbidden");
        assert!(text.contains(r#"{apiGroups: [""], resources: ["pods"], verbs: ["list"]}"#), "{text}");
    }

    #[test]
    fn what_the_kubelet_says_is_not_taken_for_the_api_server_s_word() {
        let said = "Forbidden (user=kube-apiserver, verb=get, resource=nodes, subresource(s)=[stats])";
        let text = refusal(Asked::Summary, 403, "Failed to parse error data", said);
        assert!(text.contains("from the kubelet of worker") && !text.contains("clusterrole"), "{text}");
    }

    #[test]
    fn other_answers_have_their_remedy() {
        assert!(refusal(Asked::Pods, 401, "Unauthorized", "Unauthorized").contains("log in again"));
        let text = refusal(Asked::Summary, 404, "NotFound", "nodes \"worker\" not found");
        assert!(text.contains("there is no node worker"), "{text}");
        let text = refusal(Asked::Configuration, 503, "ServiceUnavailable", "dial tcp 10.0.0.1:10250");
        assert!(text.contains("10250"), "{text}");
        assert!(refusal(Asked::Pods, 429, "TooManyRequests", "slow down").contains("429"));
    }

    #[test]
    fn causes_are_told_once() {
        let inner = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "refused");
        let text = causes(&kube::Error::Service(Box::new(inner)));
        assert_eq!(text, "ServiceError: refused");
    }
}
