//! Records of pax extended headers (POSIX.1-2008, pax(1), "Extended Header").

use super::entry::Attribute;
use super::number;
use super::sparse::{self, MAX_REGIONS, Region};
use crate::snapshot::failure::Failure;

/// Most bytes of one extended header.
pub(crate) const MAX_HEADER: u64 = 1 << 20;
/// Most bytes of names and values of one entry's extended attributes.
pub(crate) const MAX_ATTRIBUTES: usize = 64 << 10;
/// Most extended attributes of one entry.
const MAX_ATTRIBUTE_COUNT: usize = 256;

const ATTRIBUTE: &[u8] = b"SCHILY.xattr.";
const SPARSE: &[u8] = b"GNU.sparse.";

/// What extended headers say of the entry after them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Records {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) link: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) uid: Option<u64>,
    pub(crate) gid: Option<u64>,
    pub(crate) mtime: Option<(u64, u32)>,
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) sparse: Sparse,
}

/// The records of the three sparse formats.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sparse {
    pub(crate) major: Option<u64>,
    pub(crate) minor: Option<u64>,
    pub(crate) name: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) real_size: Option<u64>,
    /// Formats 0.0 and 0.1.
    pub(crate) regions: Option<Vec<Region>>,
    offset: Option<u64>,
}

impl Sparse {
    /// Whether any such record was there.
    pub(crate) fn is_present(&self) -> bool {
        self != &Self::default()
    }
}

/// Reads the records of a header of type `x`.
pub(crate) fn parse(bytes: &[u8]) -> Result<Records, Failure> {
    let mut records = Records::default();
    for_each(bytes, |key, value| records.take(key, value))?;
    if records.sparse.offset.is_some() {
        return Err(bad("GNU.sparse.offset"));
    }
    Ok(records)
}

/// Reads the records of a header of type `g`, which would speak for every entry
/// after it: nothing but comments is accepted.
pub(crate) fn parse_global(bytes: &[u8]) -> Result<(), Failure> {
    for_each(bytes, |key, _| match key {
        b"comment" => Ok(()),
        other => Err(Failure::corrupt(format!("global pax header sets {:?}", crate::snapshot::failure::shown(other)))),
    })
}

/// Calls `take` with key and value of each record `length key=value\n`.
fn for_each(mut bytes: &[u8], mut take: impl FnMut(&[u8], &[u8]) -> Result<(), Failure>) -> Result<(), Failure> {
    let malformed = || Failure::corrupt("malformed pax record");
    while !bytes.is_empty() {
        let space = bytes.iter().take(20).position(|byte| *byte == b' ').ok_or_else(malformed)?;
        let length = bytes.get(..space).and_then(number::decimal).and_then(|length| usize::try_from(length).ok());
        let (record, rest) = length.and_then(|length| bytes.split_at_checked(length)).ok_or_else(malformed)?;
        let body = record.get(space + 1..).and_then(|body| body.strip_suffix(b"\n")).ok_or_else(malformed)?;
        let equals = body.iter().position(|byte| *byte == b'=').ok_or_else(malformed)?;
        let key = body.get(..equals).filter(|key| !key.is_empty() && !key.contains(&0)).ok_or_else(malformed)?;
        take(key, body.get(equals + 1..).unwrap_or_default())?;
        bytes = rest;
    }
    Ok(())
}

impl Records {
    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        match key {
            b"path" => self.path = Some(name(key, value)?),
            b"linkpath" => self.link = Some(name(key, value)?),
            b"size" => self.size = Some(count(key, value)?),
            b"uid" => self.uid = Some(count(key, value)?),
            b"gid" => self.gid = Some(count(key, value)?),
            b"mtime" => self.mtime = Some(number::pax_time(value).ok_or_else(|| bad("mtime"))?),
            _ => {
                if let Some(attribute) = key.strip_prefix(ATTRIBUTE) {
                    self.attribute(attribute, value)?;
                } else if let Some(field) = key.strip_prefix(SPARSE) {
                    self.sparse.take(field, value)?;
                }
                // Everything else (times of access, names of owners, vendors'
                // own keys) says nothing that is applied.
            }
        }
        Ok(())
    }

    fn attribute(&mut self, name: &[u8], value: &[u8]) -> Result<(), Failure> {
        if name.is_empty() || name.len() > 255 {
            return Err(Failure::corrupt("extended attribute with a name of no or more than 255 bytes"));
        }
        self.attributes.retain(|(present, _)| present != name);
        self.attributes.push((name.to_vec(), value.to_vec()));
        let total: usize = self.attributes.iter().map(|(name, value)| name.len() + value.len()).sum();
        if total > MAX_ATTRIBUTES || self.attributes.len() > MAX_ATTRIBUTE_COUNT {
            return Err(Failure::too_large("more than 64 KiB or 256 extended attributes on one entry"));
        }
        Ok(())
    }
}

impl Sparse {
    fn take(&mut self, field: &[u8], value: &[u8]) -> Result<(), Failure> {
        let unreadable = || Failure::corrupt("sparse map: not a list of numbers, or more than 65536 regions");
        match field {
            b"major" => self.major = Some(count(field, value)?),
            b"minor" => self.minor = Some(count(field, value)?),
            b"name" => self.name = Some(name(field, value)?),
            b"size" => self.size = Some(count(field, value)?),
            b"realsize" => self.real_size = Some(count(field, value)?),
            b"map" => {
                if self.regions.replace(sparse::parse_list(value).ok_or_else(unreadable)?).is_some() {
                    return Err(bad("GNU.sparse.map"));
                }
            }
            // Format 0.0 repeats these two, in this order, for each region.
            b"offset" => {
                if self.offset.replace(count(field, value)?).is_some() {
                    return Err(bad("GNU.sparse.offset"));
                }
            }
            b"numbytes" => {
                let offset = self.offset.take().ok_or_else(|| bad("GNU.sparse.numbytes"))?;
                let regions = self.regions.get_or_insert_default();
                regions.push(Region { offset, length: count(field, value)? });
                if regions.len() > MAX_REGIONS {
                    return Err(unreadable());
                }
            }
            b"numblocks" => drop(count(field, value)?),
            _ => return Err(bad("GNU.sparse.*")),
        }
        Ok(())
    }
}

fn count(key: &[u8], value: &[u8]) -> Result<u64, Failure> {
    number::decimal(value).ok_or_else(|| bad(&crate::snapshot::failure::shown(key)))
}

/// A value that names a file. Readers disagree on what an empty one means.
fn name(key: &[u8], value: &[u8]) -> Result<Vec<u8>, Failure> {
    if value.is_empty() || value.contains(&0) {
        return Err(bad(&crate::snapshot::failure::shown(key)));
    }
    Ok(value.to_vec())
}

fn bad(key: &str) -> Failure {
    Failure::corrupt(format!("pax record {key:?} has no usable value"))
}
