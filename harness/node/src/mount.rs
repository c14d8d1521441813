//! The `mount` and `umount` commands as the kubelet uses them, for a root that has none: this program under those names.
//!
//! The arguments are those that `MakeMountArgsSensitiveWithMountFlags` and `Unmount` of k8s.io/mount-utils put
//! together: `mount [--no-canonicalize] [-t TYPE] [-o OPTIONS] [SOURCE] TARGET` and `umount [-f] TARGET`.

use std::ffi::CString;
use std::io;

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

/// The exit status of a mount or unmount that failed, as util-linux has it.
pub const FAILED: u8 = 32;

/// What one call of `mount` asks for.
#[derive(Debug, Default, PartialEq)]
struct Request {
    filesystem: String,
    source: String,
    target: String,
    flags: Option<MountFlags>,
    propagation: Option<MountPropagationFlags>,
    bind: Option<bool>,
    remount: bool,
    data: Vec<String>,
}

/// Runs `mount` with these arguments.
///
/// # Errors
/// With the sentence for standard error.
pub fn mount(arguments: &[String]) -> Result<(), String> {
    let request = parse(arguments)?;
    request.run().map_err(|error| format!("mount: {}: {error}", request.target))
}

/// Runs `umount` with these arguments.
///
/// # Errors
/// With the sentence for standard error. That a target is not a mount is said in the words that the kubelet looks for.
pub fn unmount(arguments: &[String]) -> Result<(), String> {
    let force = arguments.iter().any(|argument| argument == "-f");
    let target =
        arguments.iter().find(|argument| !argument.starts_with('-')).ok_or("usage: umount [-f] TARGET")?;
    let flags = if force { UnmountFlags::FORCE } else { UnmountFlags::empty() };
    rustix::mount::unmount(target.as_str(), flags).map_err(|error| match error {
        rustix::io::Errno::INVAL => format!("umount: {target}: not mounted."),
        error => format!("umount: {target}: {error}"),
    })
}

fn parse(arguments: &[String]) -> Result<Request, String> {
    let mut request = Request::default();
    let mut places = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value =
            || arguments.next().cloned().ok_or_else(|| format!("mount: {argument} needs a value"));
        match argument.as_str() {
            // Paths are handed to the kernel as they are in any case.
            "--no-canonicalize" => {}
            "-t" => request.filesystem = value()?,
            "-o" => value()?
                .split(',')
                .filter(|option| !option.is_empty())
                .for_each(|option| request.option(option)),
            option if option.starts_with('-') => return Err(format!("mount: {option} is not known here")),
            place => places.push(place.to_owned()),
        }
    }
    let mut places = places.into_iter();
    match (places.next(), places.next(), places.next()) {
        (Some(target), None, None) => request.target = target,
        (Some(source), Some(target), None) => (request.source, request.target) = (source, target),
        _ => return Err("usage: mount [--no-canonicalize] [-t TYPE] [-o OPTIONS] [SOURCE] TARGET".into()),
    }
    Ok(request)
}

impl Request {
    /// Takes one of mount's options; what is not the kernel's own is the filesystem's.
    fn option(&mut self, option: &str) {
        let recursive = MountPropagationFlags::REC;
        let mut flags = self.flags.unwrap_or(MountFlags::empty());
        match option {
            "bind" => self.bind = Some(self.bind.unwrap_or(false)),
            "rbind" => self.bind = Some(true),
            "remount" => self.remount = true,
            "shared" => self.propagation = Some(MountPropagationFlags::SHARED),
            "rshared" => self.propagation = Some(MountPropagationFlags::SHARED | recursive),
            "slave" => self.propagation = Some(MountPropagationFlags::DOWNSTREAM),
            "rslave" => self.propagation = Some(MountPropagationFlags::DOWNSTREAM | recursive),
            "private" => self.propagation = Some(MountPropagationFlags::PRIVATE),
            "rprivate" => self.propagation = Some(MountPropagationFlags::PRIVATE | recursive),
            "defaults" | "rw" | "suid" | "dev" | "exec" | "_netdev" => {}
            "ro" => flags |= MountFlags::RDONLY,
            "nosuid" => flags |= MountFlags::NOSUID,
            "nodev" => flags |= MountFlags::NODEV,
            "noexec" => flags |= MountFlags::NOEXEC,
            "noatime" => flags |= MountFlags::NOATIME,
            "relatime" => flags |= MountFlags::RELATIME,
            "nodiratime" => flags |= MountFlags::NODIRATIME,
            "sync" => flags |= MountFlags::SYNCHRONOUS,
            data => self.data.push(data.to_owned()),
        }
        self.flags = Some(flags);
    }

    fn run(&self) -> io::Result<()> {
        let (source, target) = (self.source.as_str(), self.target.as_str());
        let flags = self.flags.unwrap_or(MountFlags::empty());
        let data = CString::new(self.data.join(","))?;
        if self.remount {
            let bind = if self.bind.is_some() { MountFlags::BIND } else { MountFlags::empty() };
            rustix::mount::mount_remount(target, flags | bind, data.as_c_str())?;
        } else if let Some(recursive) = self.bind {
            if recursive {
                rustix::mount::mount_bind_recursive(source, target)?;
            } else {
                rustix::mount::mount_bind(source, target)?;
            }
        } else if !self.filesystem.is_empty() {
            rustix::mount::mount(source, target, self.filesystem.as_str(), flags, Some(data.as_c_str()))?;
        } else if self.propagation.is_none() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "neither a filesystem's type nor bind was asked for",
            ));
        }
        if let Some(propagation) = self.propagation {
            rustix::mount::mount_change(target, propagation)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rustix::mount::{MountFlags, MountPropagationFlags};

    use super::{Request, parse};

    fn arguments(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn what_the_kubelet_asks_for() {
        assert_eq!(
            parse(&arguments("-t tmpfs -o size=1048576,noswap tmpfs /volume")),
            Ok(Request {
                filesystem: "tmpfs".into(),
                source: "tmpfs".into(),
                target: "/volume".into(),
                flags: Some(MountFlags::empty()),
                data: vec!["size=1048576".into(), "noswap".into()],
                ..Request::default()
            })
        );
        assert_eq!(
            parse(&arguments("--no-canonicalize -o bind,remount,ro,relatime /proc/7/fd/9 /subpath")),
            Ok(Request {
                source: "/proc/7/fd/9".into(),
                target: "/subpath".into(),
                flags: Some(MountFlags::RDONLY | MountFlags::RELATIME),
                bind: Some(false),
                remount: true,
                ..Request::default()
            })
        );
        let shared = parse(&arguments("-o rbind,rshared /from /to")).expect("a request");
        assert_eq!(
            (shared.bind, shared.propagation),
            (Some(true), Some(MountPropagationFlags::SHARED | MountPropagationFlags::REC))
        );
    }

    #[test]
    fn what_is_not_known_is_refused() {
        assert!(parse(&arguments("--make-rshared /")).is_err());
        assert!(parse(&arguments("-t")).is_err());
        assert!(parse(&arguments("a b c")).is_err());
        assert!(parse(&[]).is_err());
    }
}
