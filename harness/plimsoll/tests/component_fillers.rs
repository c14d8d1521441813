//! Following a filler's log over an API server that answers as this test says.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use plimsoll::observe::fillers::Fillers;
use plimsoll::observe::{Fact, Recorder};
use plimsoll::plan::HOG_IMAGE;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Longer than a log may go unread before that is told.
const TOLD_WITHIN: Duration = Duration::from_secs(60);

fn pod(state: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "greedy", "namespace": "plimsoll", "uid": "u1"},
        "spec": {"containers": [{"name": "filler", "image": HOG_IMAGE}]},
        "status": {"containerStatuses": [
            {"name": "filler", "image": HOG_IMAGE, "imageID": "", "ready": true, "restartCount": 0, "state": state}
        ]},
    })
}

/// Answers requests: the pod, which runs until `ended`, and its log, which can be read while `answers`.
async fn serve(listener: TcpListener, answers: Arc<AtomicBool>, ended: Arc<AtomicBool>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let _ = answer(stream, answers.load(Ordering::SeqCst), ended.load(Ordering::SeqCst)).await;
    }
}

async fn answer(mut stream: TcpStream, answers: bool, ended: bool) -> std::io::Result<()> {
    let mut request = vec![0; 8192];
    let length = stream.read(&mut request).await?;
    let request = String::from_utf8_lossy(&request[..length]).into_owned();
    let is_log = request.lines().next().is_some_and(|line| line.contains("/greedy/log"));
    let state = if ended { json!({"terminated": {"exitCode": 137}}) } else { json!({"running": {}}) };
    let (status, body) = match (is_log, answers) {
        (false, _) => ("200 OK", pod(&state).to_string()),
        (true, true) => {
            ("200 OK", "{\"kind\":\"holds\",\"held\":1}\n{\"kind\":\"holds\",\"held\":2}\n".to_owned())
        }
        (true, false) => ("500 Internal Server Error", "{}".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await?;
    stream.shutdown().await
}

async fn next_gap(recorder: &mut Recorder) -> (String, bool, usize) {
    let mut reports = 0;
    let gap = async {
        loop {
            match recorder.next().await.map(|observation| observation.fact.clone()) {
                Some(Fact::Gap { source, resumed, .. }) => return (source, resumed, reports),
                Some(Fact::Filler { .. }) => reports += 1,
                other => panic!("{other:?}"),
            }
        }
    };
    tokio::time::timeout(TOLD_WITHIN, gap).await.expect("a gap")
}

#[tokio::test]
async fn a_log_that_nobody_can_read_is_a_gap_until_it_is_read_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let address = listener.local_addr().expect("an address");
    let (answers, ended) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let server = tokio::spawn(serve(listener, answers.clone(), ended.clone()));
    let config = kube::Config::new(format!("http://{address}").parse().expect("an address"));
    let client = kube::Client::try_from(config).expect("a client");
    let (mut recorder, facts) = Recorder::new();
    let mut fillers = Fillers::new(client, facts);
    let pod: Pod = serde_json::from_value(pod(&json!({"running": {}}))).expect("a pod");
    fillers.notice(&pod);

    assert_eq!(next_gap(&mut recorder).await, ("filler of greedy".to_owned(), false, 0));
    answers.store(true, Ordering::SeqCst);
    assert_eq!(next_gap(&mut recorder).await, ("filler of greedy".to_owned(), true, 0));
    // Once its container has ended, the log is read to its end and not asked for any more.
    ended.store(true, Ordering::SeqCst);
    for held in [1, 2] {
        let told = tokio::time::timeout(TOLD_WITHIN, recorder.next()).await.expect("a report");
        match told.map(|observation| observation.fact.clone()) {
            Some(Fact::Filler { report, .. }) => assert_eq!(report["held"], held),
            other => panic!("{other:?}"),
        }
    }
    drop(fillers);
    server.abort();
    let more = tokio::time::timeout(TOLD_WITHIN, recorder.next()).await.expect("the end of all sources");
    assert!(more.is_none(), "{more:?}");
}
