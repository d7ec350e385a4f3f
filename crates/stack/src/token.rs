//! Random names, from the system's own source: telling two stacks apart needs no more.

use std::fs::File;
use std::io::Read;

use crate::error::Error;

/// 22 hexadecimal digits that nobody else has.
pub(crate) fn token() -> Result<String, Error> {
    let mut bytes = [0; 11];
    let source = "/dev/urandom";
    File::open(source)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(Error::io("cannot read", source))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
