//! Compiles the protocol definitions, with a compiler written in Rust: no `protoc` is needed.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    const FILES: [&str; 4] = [
        "proto/device_plugin.proto",
        "proto/dra.proto",
        "proto/plugin_registration.proto",
        "proto/pod_resources.proto",
    ];
    let definitions = protox::compile(FILES, ["proto"])?;
    tonic_prost_build::configure().compile_fds(definitions)?;
    println!("cargo::rerun-if-changed=proto");
    Ok(())
}
