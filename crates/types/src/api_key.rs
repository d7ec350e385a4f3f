//! API keys as text: `phk_`, a prefix that may be shown, a secret, and a checksum that tells a mistyped key apart
//! without a look-up. Randomness comes in from outside.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// Begins every key, so that scanners of source code find one that was left there.
pub const SCHEME: &str = "phk_";
/// Characters of a key's prefix after [`SCHEME`].
pub const PREFIX_LEN: usize = 8;
/// Characters of a key's secret: 190 bits, beyond guessing even by the hash.
pub const SECRET_LEN: usize = 32;
/// Characters of a key's checksum: 35 bits hold the 32 of a CRC.
pub const CHECKSUM_LEN: usize = 6;
/// Random bytes that a key is made of: two for each character.
pub const RANDOM_BYTES: usize = 2 * (PREFIX_LEN + SECRET_LEN);

/// Length of what is before the checksum.
const BODY_LEN: usize = SCHEME.len() + PREFIX_LEN + SECRET_LEN;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Why a text is no key; it never holds the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidApiKey {
    /// Other length, beginning or characters.
    #[error("a key is `{SCHEME}` and {} letters and digits", PREFIX_LEN + SECRET_LEN + CHECKSUM_LEN)]
    Shape,
    /// It has a key's shape, and was mistyped or cut together.
    #[error("the key is mistyped: its last {CHECKSUM_LEN} characters do not fit the others")]
    Checksum,
}

/// What is kept of a key: the SHA-256 of its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyHash(pub [u8; 32]);

/// A whole key. Its debug form hides the secret, and it has no other.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// A key of fresh random bytes. Two bytes choose a character, so none is likelier than another by more than a part
    /// in a thousand.
    pub fn from_random(random: &[u8; RANDOM_BYTES]) -> Self {
        let mut text = String::with_capacity(BODY_LEN + CHECKSUM_LEN);
        text.push_str(SCHEME);
        for pair in random.chunks_exact(2) {
            let number = usize::from(u16::from_be_bytes([pair[0], pair[1]]));
            text.push(char::from(ALPHABET[number % ALPHABET.len()]));
        }
        let checksum = checksum(text.as_bytes());
        text.extend(checksum.map(char::from));
        Self(text)
    }

    /// Reads a key as its holder sends it.
    ///
    /// # Errors
    /// [`InvalidApiKey`], which does not repeat the text.
    pub fn parse(text: &str) -> Result<Self, InvalidApiKey> {
        let rest = text.strip_prefix(SCHEME).ok_or(InvalidApiKey::Shape)?;
        if text.len() != BODY_LEN + CHECKSUM_LEN || !rest.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(InvalidApiKey::Shape);
        }
        let (body, end) = text.split_at(BODY_LEN);
        if end.as_bytes() != checksum(body.as_bytes()) {
            return Err(InvalidApiKey::Checksum);
        }
        Ok(Self(text.to_owned()))
    }

    /// The whole text: for its owner alone, once.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// [`SCHEME`] and the prefix: names the key without giving it away.
    pub fn prefix(&self) -> &str {
        &self.0[..SCHEME.len() + PREFIX_LEN]
    }

    /// What is kept of it.
    pub fn hash(&self) -> KeyHash {
        KeyHash(Sha256::digest(self.0.as_bytes()).into())
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({}…)", self.prefix())
    }
}

fn checksum(body: &[u8]) -> [u8; CHECKSUM_LEN] {
    let mut rest = crc32(body);
    let mut digits = [ALPHABET[0]; CHECKSUM_LEN];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[usize::try_from(rest % 62).expect("it is below 62")];
        rest /= 62;
    }
    digits
}

/// CRC-32 as in zip and Ethernet. Bit by bit: 44 bytes are not worth a table.
fn crc32(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0xEDB8_8320;
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A key of these random bytes, repeated.
    fn key(random: &[u8]) -> ApiKey {
        let bytes: Vec<u8> = random.iter().copied().cycle().take(RANDOM_BYTES).collect();
        ApiKey::from_random(bytes.as_slice().try_into().unwrap())
    }

    #[test]
    fn crc_is_the_one_of_its_published_check_value() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_repeated() {
        let good = key(&[7, 9]).expose().to_owned();
        let cut = &good[..good.len() - 1];
        let long = format!("{good}0");
        let foreign = good.replacen('p', "q", 1);
        let hole = format!("{}-{}", &good[..20], &good[21..]);
        let accent = format!("{}é{}", &good[..20], &good[22..]);
        for text in ["", "phk_", cut, &long, &foreign, &hole, &accent] {
            let error = ApiKey::parse(text).unwrap_err();
            assert_eq!(error, InvalidApiKey::Shape, "{text}");
            assert!(text.len() < 5 || !error.to_string().contains(&text[4..]));
        }
    }

    proptest! {
        #[test]
        fn a_key_reads_back_and_shows_only_its_prefix(random in prop::collection::vec(any::<u8>(), RANDOM_BYTES)) {
            let key = key(&random);
            let read = ApiKey::parse(key.expose()).unwrap();
            prop_assert_eq!(&read, &key);
            prop_assert_eq!(read.hash(), key.hash());
            let shown = format!("{key:?}");
            prop_assert!(shown.contains(key.prefix()));
            prop_assert!(!shown.contains(&key.expose()[SCHEME.len() + PREFIX_LEN..]));
        }

        #[test]
        fn one_mistyped_character_is_noticed(
            random in prop::collection::vec(any::<u8>(), RANDOM_BYTES),
            at in SCHEME.len()..BODY_LEN + CHECKSUM_LEN,
            by in 1..ALPHABET.len(),
        ) {
            let mut text = key(&random).expose().as_bytes().to_vec();
            let place = ALPHABET.iter().position(|byte| *byte == text[at]).unwrap();
            text[at] = ALPHABET[(place + by) % ALPHABET.len()];
            let text = String::from_utf8(text).unwrap();
            prop_assert_eq!(ApiKey::parse(&text), Err(InvalidApiKey::Checksum));
        }
    }
}
