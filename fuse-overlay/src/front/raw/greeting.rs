//! The first exchange: which protocol, which capabilities.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use super::answer::Answer;
use super::wire::{Body, Header, MAJOR, MINOR, OLDEST_MINOR, capability, operation, parse};

/// What was agreed on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Agreed {
    /// Bytes of the largest read and write.
    pub largest: usize,
    /// Whether SETXATTR has its longer form.
    pub long_setxattr: bool,
}

/// Requests that the kernel may have under way in the background.
const BACKGROUND: u16 = 64;
const PAGE: usize = 4096;

/// What is wanted of what the kernel offers.
const WANTED: u64 = capability::ASYNC_READ
    | capability::BIG_WRITES
    | capability::DONT_MASK
    | capability::DO_READDIRPLUS
    | capability::READDIRPLUS_AUTO
    | capability::ASYNC_DIO
    | capability::NO_OPEN_SUPPORT
    | capability::PARALLEL_DIROPS
    | capability::POSIX_ACL
    | capability::MAX_PAGES
    | capability::CACHE_SYMLINKS
    | capability::NO_OPENDIR_SUPPORT
    | capability::EXPLICIT_INVAL_DATA
    | capability::HANDLE_KILLPRIV_V2
    | capability::SETXATTR_EXT
    | capability::INIT_EXT
    | capability::DIRECT_IO_ALLOW_MMAP;

/// Answers the first request; `None` if the mount is gone before there is one.
pub(super) fn exchange(device: BorrowedFd<'_>, largest: usize) -> io::Result<Option<Agreed>> {
    let mut buffer = vec![0_u8; 64 << 10];
    let mut answer = Answer::new(0);
    loop {
        let Some(length) = super::receive(device, &mut buffer)? else { return Ok(None) };
        let request = buffer.get(..length).unwrap_or_default();
        let Some((header, body)) = parse(request).filter(|(header, _)| header.operation == operation::INIT) else {
            return Err(Errno::PROTO.into());
        };
        answer.clear();
        match greet(&header, body, largest, &mut answer) {
            Ok(agreed) => {
                answer.send(device, header.unique, Ok(()))?;
                if agreed.is_some() {
                    return Ok(agreed);
                }
            }
            Err(error) => {
                answer.send(device, header.unique, Err(error))?;
                return Err(error.into());
            }
        }
    }
}

/// `None` as agreement means that the kernel will ask again, in our version.
fn greet(_header: &Header, mut body: Body<'_>, largest: usize, answer: &mut Answer) -> Result<Option<Agreed>, Errno> {
    let (major, minor) = (body.u32()?, body.u32()?);
    let (readahead, low) = (body.u32()?, body.u32()?);
    if major > MAJOR {
        answer.u32(MAJOR);
        answer.u32(MINOR);
        return Ok(None);
    }
    if major < MAJOR || minor < OLDEST_MINOR {
        return Err(Errno::PROTO);
    }
    let high = if u64::from(low) & capability::INIT_EXT == 0 { 0 } else { body.u32().unwrap_or(0) };
    let flags = WANTED & (u64::from(low) | (u64::from(high) << 32));
    let most = if flags & capability::MAX_PAGES == 0 { 32 * PAGE } else { largest };
    let largest = most.min(largest).max(PAGE);
    reply(answer, (minor, readahead), (flags, largest));
    Ok(Some(Agreed { largest, long_setxattr: flags & capability::SETXATTR_EXT != 0 }))
}

fn reply(answer: &mut Answer, (minor, readahead): (u32, u32), (flags, largest): (u64, usize)) {
    answer.u32(MAJOR);
    answer.u32(minor.min(MINOR));
    answer.u32(readahead);
    #[allow(clippy::cast_possible_truncation, reason = "the two halves")]
    let (low, high) = (flags as u32, (flags >> 32) as u32);
    answer.u32(low);
    answer.u16(BACKGROUND);
    answer.u16(BACKGROUND * 3 / 4);
    answer.u32(u32::try_from(largest).unwrap_or(u32::MAX));
    answer.u32(1);
    answer.u16(u16::try_from(largest / PAGE).unwrap_or(u16::MAX));
    answer.u16(0);
    answer.u32(high);
    answer.raw(&[0; 28]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front::raw::wire::IN_HEADER;

    fn greeted(fields: [u32; 5]) -> Result<Option<Agreed>, Errno> {
        let mut request = vec![0_u8; IN_HEADER];
        for field in fields {
            request.extend_from_slice(&field.to_ne_bytes());
        }
        let length = u32::try_from(request.len()).expect("short").to_ne_bytes();
        request.splice(..4, length);
        let (header, body) = parse(&request).expect("a request");
        let mut answer = Answer::new(0);
        answer.clear();
        greet(&header, body, 1 << 20, &mut answer)
    }

    #[test]
    fn versions_and_capabilities() {
        let all = greeted([7, 45, 1 << 17, u32::MAX, u32::MAX]).expect("agreed").expect("agreed");
        assert_eq!((all.largest, all.long_setxattr), (1 << 20, true));
        let old = greeted([7, 33, 1 << 17, 0, 0]).expect("agreed").expect("agreed");
        assert_eq!((old.largest, old.long_setxattr), (128 << 10, false));
        assert!(greeted([8, 0, 0, 0, 0]).expect("asks again").is_none());
        assert_eq!(greeted([7, 31, 0, 0, 0]).err(), Some(Errno::PROTO));
        assert_eq!(greeted([6, 0, 0, 0, 0]).err(), Some(Errno::PROTO));
    }
}
