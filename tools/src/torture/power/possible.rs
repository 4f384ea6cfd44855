//! Whether power can be cut here at all.

/// What is missing here, in a few words. `None` when nothing is.
#[cfg(not(target_os = "linux"))]
pub fn missing() -> Option<String> {
    Some("this is not Linux".to_owned())
}

/// What is missing here, in a few words. `None` when nothing is.
#[cfg(target_os = "linux")]
pub fn missing() -> Option<String> {
    use super::device;
    use std::path::Path;

    if !rustix::process::geteuid().is_root() {
        return Some("only root may mount".to_owned());
    }
    for (device, what) in [("/dev/fuse", "FUSE"), ("/dev/loop-control", "loop devices")] {
        if !Path::new(device).exists() {
            return Some(format!("there is no {device}: this kernel, or this container, has no {what}"));
        }
    }
    for program in ["losetup", "mkfs.ext4", "e2fsck"] {
        if device::program(program).is_none() {
            return Some(format!("there is no program {program}"));
        }
    }
    match device::may_mount() {
        Ok(()) => None,
        Err(error) => Some(format!("ext4 cannot be mounted: {error}")),
    }
}
