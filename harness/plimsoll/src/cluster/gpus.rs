//! What nodes with GPUs find in their run folder: programs, the simulated driver, and what both are linked with.

use std::path::Path;

use super::ClusterError;
use super::state::RunFolder;
use crate::gpu_programs::GpuPrograms;
use crate::plan::Plan;

/// Puts it there, and gives the programs if any node has GPUs.
///
/// # Errors
/// When a program is missing, or a file can not be written.
pub(super) async fn put(plan: &Plan, folder: &RunFolder) -> Result<Option<GpuPrograms>, ClusterError> {
    let mut nodes = plan.nodes.iter().filter(|node| node.gpus.is_some()).peekable();
    if nodes.peek().is_none() {
        return Ok(None);
    }
    let programs = GpuPrograms::find().await.map_err(|error| ClusterError::Machine(error.to_string()))?;
    for node in nodes {
        let target = folder.path.join(&node.name).join("run/gpu");
        copy(&programs, &target).map_err(ClusterError::doing(format!("filling {}", target.display())))?;
    }
    Ok(Some(programs))
}

/// Copied and not linked: another filesystem may hold what was built, and a node may write to its own.
fn copy(programs: &GpuPrograms, target: &Path) -> std::io::Result<()> {
    let libraries = target.join("lib");
    std::fs::create_dir_all(&libraries)?;
    for file in [&programs.node, &programs.reader, &programs.driver] {
        std::fs::copy(file, target.join(file.file_name().unwrap_or_default()))?;
    }
    for library in &programs.libraries {
        std::fs::copy(library, libraries.join(library.file_name().unwrap_or_default()))?;
    }
    std::fs::copy(GpuPrograms::loader(), libraries.join("ld.so")).map(drop)
}
