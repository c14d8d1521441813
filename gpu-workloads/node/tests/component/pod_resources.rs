//! The kubelet's account of devices, over a real socket.

use plimsoll_gpu_node::api::pod_resources::pod_resources_lister_server::{
    PodResourcesLister, PodResourcesListerServer,
};
use plimsoll_gpu_node::api::pod_resources::{
    ContainerDevices, ContainerResources, ListPodResourcesRequest, ListPodResourcesResponse, PodResources,
};
use plimsoll_gpu_node::pods::{Holding, HoldingsError, holdings};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

struct Kubelet(ListPodResourcesResponse);

#[tonic::async_trait]
impl PodResourcesLister for Kubelet {
    async fn list(
        &self,
        _: Request<ListPodResourcesRequest>,
    ) -> Result<Response<ListPodResourcesResponse>, Status> {
        Ok(Response::new(self.0.clone()))
    }
}

fn container(name: &str, devices: &[(&str, &[&str])]) -> ContainerResources {
    let devices = devices.iter().map(|(resource, ids)| ContainerDevices {
        resource_name: (*resource).to_owned(),
        device_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
    });
    ContainerResources { name: name.to_owned(), devices: devices.collect() }
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_are_listed_with_their_devices_of_one_resource() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("kubelet.sock");
    // As many shares as no message of the default size holds.
    let many: Vec<String> =
        (0..200_000).map(|share| format!("GPU-00000000-0000-4000-8000-000000000000::{share}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let pod = |name: &str, containers| PodResources {
        name: name.to_owned(),
        namespace: "shop".to_owned(),
        containers,
    };
    let answer = ListPodResourcesResponse {
        pod_resources: vec![
            // The kubelet lists devices by NUMA node, so a resource may stand several times.
            pod("a", vec![container("c", &[("x.y/gpu", &["1"]), ("x.y/gpu", &["2"]), ("x.y/nic", &["3"])])]),
            pod("b", vec![container("c", &[])]),
            pod("d", vec![container("c", &[("x.y/gpu", &many)])]),
        ],
    };
    let listener = UnixListener::bind(&socket).expect("a socket");
    let server = tokio::spawn(
        Server::builder()
            .add_service(PodResourcesListerServer::new(Kubelet(answer)))
            .serve_with_incoming(UnixListenerStream::new(listener)),
    );
    let found = holdings(&socket, "x.y/gpu").await.expect("an account");
    assert_eq!(
        found[0],
        Holding {
            namespace: "shop".to_owned(),
            pod: "a".to_owned(),
            container: "c".to_owned(),
            ids: vec!["1".to_owned(), "2".to_owned()],
        }
    );
    assert_eq!((found.len(), found[1].ids.len()), (2, 200_000));
    server.abort();
    let _ = server.await;
    std::fs::remove_file(&socket).expect("removed");
    assert!(matches!(holdings(&socket, "x.y/gpu").await, Err(HoldingsError::Connect { .. })));
}
