//! Container images made of a few files, without a registry and without an image builder.
//!
//! An archive is an OCI image layout in a tar file, as `ctr --namespace k8s.io images import` takes it.
//! It carries the older `manifest.json` too, for engines whose `load` knows nothing else. The same input
//! gives the same bytes.

use std::fmt;
use std::io::{self, Read, Write};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::noise::Noise;

/// The filler's image.
pub const HOG: &str = "docker.io/plimsoll/hog:1";
/// The image of the filler of GPU memory.
pub const GPU_HOG: &str = "docker.io/plimsoll/gpu-hog:1";
/// The sandbox container's image.
pub const PAUSE: &str = "docker.io/plimsoll/pause:1";

/// An image.
#[derive(Clone, Debug)]
pub struct Image<'a> {
    /// The full name, with registry and tag: `docker.io/plimsoll/hog:1`. The container runtime normalises
    /// names, so a short one would not be found again.
    pub name: &'a str,
    /// Its layers, the lowest first.
    pub layers: Vec<Vec<File<'a>>>,
    /// The program that its containers run, with arguments that come before a container's own.
    pub entrypoint: Vec<&'a str>,
}

/// A file of a layer. It belongs to root.
#[derive(Clone, Debug)]
pub struct File<'a> {
    /// Where, from the root, with or without a leading slash.
    pub path: &'a str,
    /// Permission bits, such as `0o755`.
    pub mode: u32,
    /// What it contains.
    pub content: Content<'a>,
}

/// What a file contains.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// So many bytes that no compression shrinks; another `seed` gives others. Never in memory as a whole.
    Noise {
        /// How many.
        length: u64,
        /// Which.
        seed: u64,
    },
    /// Nothing: a folder.
    Folder,
}

/// The digest of a blob, printed as `sha256:…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "sha256:{}", self.hex())
    }
}

impl Digest {
    fn hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn path(self) -> String {
        format!("blobs/sha256/{}", self.hex())
    }
}

impl Image<'static> {
    /// The filler's image, [`HOG`]. `/tmp` is there for the control socket of a filler
    /// that does not run as root.
    pub fn hog(program: &[u8]) -> Image<'_> {
        let folder = File { path: "tmp", mode: 0o1777, content: Content::Folder };
        Image {
            name: HOG,
            layers: vec![vec![File::program("plimsoll-hog", program), folder]],
            entrypoint: vec!["/plimsoll-hog"],
        }
    }

    /// The image of the filler of GPU memory, [`GPU_HOG`]. It is linked dynamically: `libraries` are the dynamic loader and the
    /// libraries that it needs, each with the path where that program looks for it.
    pub fn gpu_hog<'a>(program: &'a [u8], libraries: &'a [(String, Vec<u8>)]) -> Image<'a> {
        let folder = File { path: "tmp", mode: 0o1777, content: Content::Folder };
        let mut layer: Vec<File<'a>> =
            libraries.iter().map(|(path, bytes)| File::program(path, bytes)).collect();
        layer.extend([File::program("plimsoll-gpu-hog", program), folder]);
        Image { name: GPU_HOG, layers: vec![layer], entrypoint: vec!["/plimsoll-gpu-hog"] }
    }

    /// The sandbox container's image, [`PAUSE`].
    pub fn pause(program: &[u8]) -> Image<'_> {
        Image {
            name: PAUSE,
            layers: vec![vec![File::program("plimsoll-pause", program)]],
            entrypoint: vec!["/plimsoll-pause"],
        }
    }
}

impl<'a> File<'a> {
    /// A program that anyone may run.
    pub fn program(path: &'a str, bytes: &'a [u8]) -> File<'a> {
        File { path, mode: 0o755, content: Content::Bytes(bytes) }
    }
}

/// Writes `images` as one archive.
///
/// # Errors
///
/// When the output does, or a path is not one that a tar file can hold.
pub fn write_archive(images: &[Image<'_>], output: impl Write) -> io::Result<()> {
    let mut archive = Archive { tar: tar::Builder::new(output), written: Vec::new() };
    archive.folder("blobs/")?;
    archive.folder("blobs/sha256/")?;
    let (mut index, mut manifests) = (Vec::new(), Vec::new());
    for image in images {
        let mut layers = Vec::new();
        for layer in &image.layers {
            layers.push(archive.layer(layer)?);
        }
        let digests: Vec<String> = layers.iter().map(|(digest, _)| digest.to_string()).collect();
        let (config, config_length) = archive.json(&json!({
            "architecture": architecture(),
            "os": "linux",
            "config": { "Entrypoint": image.entrypoint, "Env": ["PATH=/"], "WorkingDir": "/" },
            "rootfs": { "type": "layers", "diff_ids": digests },
            "history": digests.iter().map(|_| json!({ "created_by": "plimsoll" })).collect::<Vec<_>>(),
        }))?;
        let (manifest, manifest_length) = archive.json(&json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", config, config_length),
            "layers": layers
                .iter()
                .map(|(digest, length)| descriptor("application/vnd.oci.image.layer.v1.tar", *digest, *length))
                .collect::<Vec<_>>(),
        }))?;
        let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", manifest, manifest_length);
        entry["platform"] = json!({ "architecture": architecture(), "os": "linux" });
        let tag = image.name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
        entry["annotations"] =
            json!({ "io.containerd.image.name": image.name, "org.opencontainers.image.ref.name": tag });
        index.push(entry);
        manifests.push(json!({
            "Config": config.path(),
            "RepoTags": [image.name],
            "Layers": layers.iter().map(|(digest, _)| digest.path()).collect::<Vec<_>>(),
        }));
    }
    archive.file(
        "index.json",
        &json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": index,
        }),
    )?;
    archive.file("manifest.json", &Value::Array(manifests))?;
    archive.file("oci-layout", &json!({ "imageLayoutVersion": "1.0.0" }))?;
    archive.tar.into_inner()?.flush()
}

/// What Go, and so the image format, calls this machine.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn descriptor(media_type: &str, digest: Digest, length: u64) -> Value {
    json!({ "mediaType": media_type, "digest": digest.to_string(), "size": length })
}

struct Archive<W: Write> {
    tar: tar::Builder<W>,
    written: Vec<Digest>,
}

impl<W: Write> Archive<W> {
    fn folder(&mut self, path: &str) -> io::Result<()> {
        let mut header = header(tar::EntryType::Directory, 0o755, 0);
        self.tar.append_data(&mut header, path, io::empty())
    }

    fn file(&mut self, path: &str, content: &Value) -> io::Result<()> {
        let bytes = serde_json::to_vec(content)?;
        let mut header = header(tar::EntryType::Regular, 0o644, bytes.len() as u64);
        self.tar.append_data(&mut header, path, bytes.as_slice())
    }

    fn json(&mut self, content: &Value) -> io::Result<(Digest, u64)> {
        let bytes = serde_json::to_vec(content)?;
        let digest = Digest(Sha256::digest(&bytes).into());
        self.blob(digest, bytes.len() as u64, |entry| entry.write_all(&bytes))?;
        Ok((digest, bytes.len() as u64))
    }

    /// Writes a layer twice, first to learn its digest and length, so that a large one needs no memory.
    fn layer(&mut self, files: &[File<'_>]) -> io::Result<(Digest, u64)> {
        let mut meter = Meter { hash: Sha256::new(), length: 0 };
        write_layer(files, &mut meter)?;
        let (digest, length) = (Digest(meter.hash.finalize().into()), meter.length);
        self.blob(digest, length, |entry| write_layer(files, entry))?;
        Ok((digest, length))
    }

    fn blob(
        &mut self,
        digest: Digest,
        length: u64,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.written.contains(&digest) {
            return Ok(());
        }
        self.written.push(digest);
        let mut header = header(tar::EntryType::Regular, 0o644, length);
        header.set_path(digest.path())?;
        header.set_cksum();
        let output = self.tar.get_mut();
        output.write_all(header.as_bytes())?;
        write(output)?;
        let padding = length.next_multiple_of(512) - length;
        io::copy(&mut io::repeat(0).take(padding), output)?;
        Ok(())
    }
}

fn write_layer(files: &[File<'_>], output: &mut dyn Write) -> io::Result<()> {
    let mut tar = tar::Builder::new(output);
    for file in files {
        let path = file.path.trim_start_matches('/');
        match file.content {
            Content::Bytes(bytes) => tar.append_data(
                &mut header(tar::EntryType::Regular, file.mode, bytes.len() as u64),
                path,
                bytes,
            ),
            Content::Noise { length, seed } => tar.append_data(
                &mut header(tar::EntryType::Regular, file.mode, length),
                path,
                Noise::new(seed, length),
            ),
            Content::Folder => tar.append_data(
                &mut header(tar::EntryType::Directory, file.mode, 0),
                format!("{path}/"),
                io::empty(),
            ),
        }?;
    }
    tar.finish()
}

fn header(kind: tar::EntryType, mode: u32, length: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(length);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

struct Meter {
    hash: Sha256,
    length: u64,
}

impl Write for Meter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
