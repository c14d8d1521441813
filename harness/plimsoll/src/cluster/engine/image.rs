//! The image of control planes and nodes: the bundle's programs in an otherwise empty root. It is made once for
//! each bundle and never pulled. Our own programs are not in it: they change more often and are copied into each container.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use futures::{StreamExt, TryStreamExt, future, stream};
use plimsoll_node::config::{BIN, PROGRAMS, RUN};
use testcontainers::bollard::errors::Error;
use testcontainers::bollard::query_parameters::CreateImageOptionsBuilder;
use testcontainers::bollard::{Docker, body_try_stream};
use tokio::net::unix::pipe;
use tokio_util::io::ReaderStream;

use crate::bundle::Bundle;
use crate::cluster::ClusterError;

/// The image's repository. It is no name of a registry's: an image that is not there can not be had from anywhere.
const REPOSITORY: &str = "plimsoll/node";
/// Counts the changes of what this file puts around the bundle.
const LAYOUT: u32 = 1;
/// How much is handed to the engine at once.
const CHUNK: usize = 1 << 20;
/// Folders that programs expect in a root, and their modes.
const FOLDERS: [(&str, u32); 9] = [
    ("/etc", 0o755),
    ("/root", 0o700),
    ("/run", 0o755),
    ("/tmp", 0o1777),
    ("/usr/bin", 0o755),
    ("/var/lib", 0o755),
    ("/var/log", 0o755),
    (PROGRAMS, 0o755),
    (RUN, 0o700),
];
/// Files that programs expect: users for the kubelet, which looks for its own, and that names are looked up in files first.
const FILES: [(&str, &str); 3] = [
    ("/etc/passwd", "root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n"),
    ("/etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    ("/etc/nsswitch.conf", "hosts: files dns\n"),
];
/// Commands that the kubelet runs and that our init's program is under these names.
const COMMANDS: [&str; 2] = ["mount", "umount"];

/// An image that the engine has.
#[derive(Debug, Clone)]
pub(super) struct Image {
    /// Its repository.
    pub(super) name: &'static str,
    /// Its tag.
    pub(super) tag: String,
}

/// The image of a bundle, handed to the engine if it has none.
pub(super) async fn ensure(docker: &Docker, bundle: &Bundle) -> Result<Image, ClusterError> {
    let image = Image {
        name: REPOSITORY,
        tag: format!("{}-{}-{LAYOUT}", bundle.contents.kubernetes, bundle.contents.key),
    };
    let reference = format!("{}:{}", image.name, image.tag);
    if has(docker, &reference).await? {
        return Ok(image);
    }
    // Another run may be at it: who comes second waits, and finds it there. The lock goes with the process.
    let folder = bundle.folder.clone();
    let doing = format!("handing the image {reference} to the engine");
    let lock = tokio::task::spawn_blocking(move || -> io::Result<File> {
        let lock = File::open(folder)?;
        lock.lock()?;
        Ok(lock)
    });
    let _lock = lock.await.map_err(ClusterError::doing(&*doing))?.map_err(ClusterError::doing(&*doing))?;
    if !has(docker, &reference).await? {
        tracing::info!(image = reference, "handing the image of nodes to the engine, once for this bundle");
        import(docker, bundle, &image).await.map_err(ClusterError::doing(doing))?;
    }
    Ok(image)
}

async fn has(docker: &Docker, reference: &str) -> Result<bool, ClusterError> {
    match docker.inspect_image(reference).await {
        Ok(_) => Ok(true),
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(false),
        Err(error) => Err(ClusterError::doing(format!("looking for the image {reference}"))(error)),
    }
}

/// Streams the root to the engine. A file that can not be read breaks the stream off, so that the engine makes no
/// image of half a root.
async fn import(
    docker: &Docker,
    bundle: &Bundle,
    image: &Image,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (reader, writer) = io::pipe()?;
    let bin = bundle.bin();
    let packing = tokio::task::spawn_blocking(move || pack(&bin, writer));
    let packed = stream::once(packing).filter_map(|packed| {
        future::ready(match packed {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(Err(error)),
            Err(error) => Some(Err(io::Error::other(error))),
        })
    });
    let root =
        ReaderStream::with_capacity(pipe::Receiver::from_owned_fd(reader.into())?, CHUNK).chain(packed);
    let options = CreateImageOptionsBuilder::new()
        .from_src("-")
        .repo(image.name)
        .tag(&image.tag)
        .message(&format!("Kubernetes {}, bundle {}", bundle.contents.kubernetes, bundle.contents.key))
        .build();
    docker.create_image(Some(options), Some(body_try_stream(root)), None).try_collect::<Vec<_>>().await?;
    Ok(())
}

/// Writes the root as an archive.
fn pack(bin: &Path, writer: impl Write) -> io::Result<()> {
    let mut archive = tar::Builder::new(io::BufWriter::with_capacity(CHUNK, writer));
    for (folder, mode) in FOLDERS {
        let mut header = header(tar::EntryType::Directory, mode);
        archive.append_data(&mut header, relative(folder), io::empty())?;
    }
    for (file, text) in FILES {
        let mut header = header(tar::EntryType::Regular, 0o644);
        header.set_size(text.len() as u64);
        archive.append_data(&mut header, relative(file), text.as_bytes())?;
    }
    for command in COMMANDS {
        let mut header = header(tar::EntryType::Symlink, 0o777);
        archive.append_link(
            &mut header,
            format!("usr/bin/{command}"),
            format!("{PROGRAMS}/plimsoll-node"),
        )?;
    }
    let mut entries = std::fs::read_dir(bin)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = Path::new(relative(BIN)).join(entry.file_name());
        if entry.file_type()?.is_symlink() {
            let mut header = header(tar::EntryType::Symlink, 0o777);
            archive.append_link(&mut header, path, std::fs::read_link(entry.path())?)?;
        } else {
            let file = File::open(entry.path())?;
            let mut header = header(tar::EntryType::Regular, 0o755);
            header.set_size(file.metadata()?.len());
            archive.append_data(&mut header, path, file)?;
        }
    }
    archive.into_inner()?.flush()
}

/// A header that says the same whoever packs, and when.
fn header(kind: tar::EntryType, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    header
}

fn relative(path: &str) -> &str {
    path.trim_start_matches('/')
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use super::pack;

    #[test]
    fn the_root_holds_the_bundle_with_its_links_and_what_programs_expect() {
        let bin = std::env::temp_dir().join(format!("plimsoll-image-{}", std::process::id()));
        fs::create_dir_all(&bin).expect("a folder");
        fs::write(bin.join("kube"), "program").expect("a file");
        std::os::unix::fs::symlink("kube", bin.join("kubelet")).expect("a link");
        let mut archive = Vec::new();
        pack(&bin, &mut archive).expect("packing");
        fs::remove_dir_all(&bin).expect("removing");
        let mut found = BTreeMap::new();
        for entry in tar::Archive::new(archive.as_slice()).entries().expect("an archive") {
            let entry = entry.expect("an entry");
            let link = entry.link_name().expect("a link").map(|link| link.display().to_string());
            found.insert(
                entry.path().expect("a path").display().to_string(),
                (entry.header().mode().expect("a mode"), entry.size(), link),
            );
        }
        assert_eq!(found["plimsoll/bin/kube"], (0o755, 7, None));
        assert_eq!(found["plimsoll/bin/kubelet"].2.as_deref(), Some("kube"));
        assert_eq!(found["usr/bin/mount"].2.as_deref(), Some("/plimsoll/programs/plimsoll-node"));
        assert_eq!(found["tmp"].0, 0o1777);
    }
}
