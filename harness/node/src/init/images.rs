//! Images in the node's container runtime: the filler's own from an archive, and ballast that is made here.

use std::io::BufWriter;
use std::process::{Command, Stdio};

use plimsoll_hog::image::{Content, File, Image, write_archive};

use super::InitError;
use super::supervise::{Supervisor, log_file};
use crate::config::{BIN, BallastImage, RUN};

/// How many files lie in one folder of an image.
const FILES_A_FOLDER: u64 = 1000;

/// Imports the archive that the node was given, and keeps its images from being collected: nothing uses them yet, and
/// they can not be pulled again.
pub(super) fn import(supervisor: &Supervisor, pinned: &[String]) -> Result<(), InitError> {
    ctr(supervisor, &["images", "import", &format!("{RUN}/images.tar")])?;
    pinned.iter().try_for_each(|image| pin(supervisor, image))
}

/// Makes images and imports them, each through a pipe, so that nothing but the runtime's own store takes space.
pub(super) fn load(supervisor: &Supervisor, images: &[BallastImage]) -> Result<(), InitError> {
    for image in images {
        let mut command = command(&["images", "import", "-"])?;
        command.stdin(Stdio::piped());
        let (name, ballast) = (format!("importing {}", image.name), image.clone());
        supervisor.feed_to_end(&name, &mut command, move |input| write(&ballast, BufWriter::new(input)))?;
        if image.pinned {
            pin(supervisor, &image.name)?;
        }
    }
    Ok(())
}

fn pin(supervisor: &Supervisor, image: &str) -> Result<(), InitError> {
    ctr(supervisor, &["images", "label", image, "io.cri-containerd.pinned=pinned"])
}

fn ctr(supervisor: &Supervisor, arguments: &[&str]) -> Result<(), InitError> {
    supervisor.run_to_end(&format!("ctr {}", arguments.join(" ")), &mut command(arguments)?)
}

fn command(arguments: &[&str]) -> Result<Command, InitError> {
    let log = log_file("images")?;
    let errors = log.try_clone().map_err(InitError::context("log"))?;
    let mut command = Command::new(format!("{BIN}/ctr"));
    command.args(["-n", "k8s.io"]).args(arguments).stdin(Stdio::null()).stdout(log).stderr(errors);
    Ok(command)
}

/// Writes an image of noise. Its layers are stored as they are, so that it takes each byte twice: packed and unpacked.
fn write(ballast: &BallastImage, output: impl std::io::Write) -> std::io::Result<()> {
    let layers = u64::from(ballast.layers.max(1));
    let paths: Vec<Vec<String>> = (0..layers)
        .map(|layer| {
            let files = share(ballast.files, layers, layer);
            (0..files).map(|file| format!("{layer}/{}/{file}", file / FILES_A_FOLDER)).collect()
        })
        .collect();
    let weights: Vec<String> = (0..layers).map(|layer| format!("weight-{layer}")).collect();
    let layer = |index: usize| {
        let number = index as u64;
        let length = share(ballast.size / 2, layers, number);
        // The name makes no two images alike.
        let seed = ballast.name.bytes().fold(number, |seed, byte| seed.wrapping_mul(31) + u64::from(byte));
        let weight = File { path: &weights[index], mode: 0o644, content: Content::Noise { length, seed } };
        let files = paths[index].iter().map(|path| File { path, mode: 0o644, content: Content::Bytes(&[]) });
        std::iter::once(weight).chain(files).collect()
    };
    let image = Image {
        name: &ballast.name,
        layers: (0..paths.len()).map(layer).collect(),
        entrypoint: vec!["/weight-0"],
    };
    write_archive(&[image], output)
}

/// One of so many even parts of a whole.
fn share(whole: u64, parts: u64, part: u64) -> u64 {
    whole / parts + u64::from(part < whole % parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(name: &str) -> Vec<u8> {
        let ballast =
            BallastImage { name: name.into(), size: 100_000, files: 2500, layers: 3, pinned: false };
        let mut archive = Vec::new();
        write(&ballast, &mut archive).expect("an archive");
        archive
    }

    #[test]
    fn an_image_has_its_size_and_its_files_and_shares_no_layer() {
        let (one, other) = (image("docker.io/plimsoll/one:1"), image("docker.io/plimsoll/other:1"));
        // Half of it, since it is unpacked beside the archive; a file takes a record of the tar format besides.
        assert!((50_000..50_000 + 2600 * 512 + 40_000).contains(&one.len()), "{}", one.len());
        let blobs = |archive: &[u8]| -> Vec<String> {
            let text = String::from_utf8_lossy(archive).into_owned();
            let after = text.match_indices("blobs/sha256/").map(|(at, path)| &text[at + path.len()..]);
            let digests = after.map(|rest| rest.chars().take_while(char::is_ascii_hexdigit).collect());
            digests.filter(|digest: &String| digest.len() == 64).collect()
        };
        let others = blobs(&other);
        assert!(others.len() >= 5, "three layers, a configuration and a manifest: {others:?}");
        assert!(blobs(&one).iter().all(|digest| !others.contains(digest)));
        assert_eq!((0..3).map(|part| share(2500, 3, part)).sum::<u64>(), 2500);
    }
}
