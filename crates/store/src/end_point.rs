//! Channel binding of type `tls-server-end-point` (RFC 5929, section 4): the server certificate's hash, by the hash function
//! of its own signature. Reads no further into the certificate than to that.

use sha2::{Digest as _, Sha256, Sha384, Sha512};

const SEQUENCE: u8 = 0x30;
const OBJECT_ID: u8 = 0x06;

// DER bodies of the object identifiers of signatures. MD5's and SHA-1's are hashed by SHA-256, the RFC says.
const RSA_SHA_1_FAMILY: [&[u8]; 3] = [
    &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04],
    &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05],
    &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01],
];
const RSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
const RSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c];
const RSA_SHA512: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d];
const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const ECDSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];
const ECDSA_SHA512: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04];

/// The binding of a certificate in DER; none where the RFC leaves it open (Ed25519, RSA-PSS) or the DER is none.
pub(crate) fn end_point_hash(certificate: &[u8]) -> Option<Vec<u8>> {
    match signature_algorithm(certificate)? {
        RSA_SHA256 | ECDSA_SHA256 => Some(Sha256::digest(certificate).to_vec()),
        RSA_SHA384 | ECDSA_SHA384 => Some(Sha384::digest(certificate).to_vec()),
        RSA_SHA512 | ECDSA_SHA512 => Some(Sha512::digest(certificate).to_vec()),
        old if RSA_SHA_1_FAMILY.contains(&old) => Some(Sha256::digest(certificate).to_vec()),
        _ => None,
    }
}

/// `Certificate ::= SEQUENCE { tbsCertificate SEQUENCE, signatureAlgorithm SEQUENCE { OBJECT IDENTIFIER, … }, … }`
fn signature_algorithm(certificate: &[u8]) -> Option<&[u8]> {
    let (fields, _) = element(certificate, SEQUENCE)?;
    let (_, behind) = element(fields, SEQUENCE)?;
    let (algorithm, _) = element(behind, SEQUENCE)?;
    Some(element(algorithm, OBJECT_ID)?.0)
}

/// The body of the first element, which must have this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, first], rest) = der.split_first_chunk::<2>()?;
    if found != tag {
        return None;
    }
    if first < 0x80 {
        return rest.split_at_checked(first.into());
    }
    let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
    if length.len() > 4 {
        return None;
    }
    let length = length
        .iter()
        .fold(0_usize, |sum, &byte| sum << 8 | usize::from(byte));
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(algorithm: &[u8]) -> Vec<u8> {
        let wrap = |tag: u8, body: &[u8]| [&[tag, 0x81, u8::try_from(body.len()).unwrap()], body].concat();
        let algorithm = wrap(SEQUENCE, &wrap(OBJECT_ID, algorithm));
        wrap(
            SEQUENCE,
            &[wrap(SEQUENCE, b"to be signed"), algorithm, b"signature".to_vec()].concat(),
        )
    }

    #[test]
    fn the_signature_s_own_hash_is_used() {
        for (algorithm, length) in [
            (ECDSA_SHA256, 32),
            (RSA_SHA384, 48),
            (ECDSA_SHA512, 64),
            (RSA_SHA_1_FAMILY[1], 32),
        ] {
            assert_eq!(end_point_hash(&certificate(algorithm)).unwrap().len(), length);
        }
        let ed25519 = [0x2b, 0x65, 0x70];
        assert_eq!(end_point_hash(&certificate(&ed25519)), None);
    }

    #[test]
    fn what_is_no_certificate_has_no_binding() {
        let whole = certificate(RSA_SHA256);
        for length in 0..40 {
            assert_eq!(end_point_hash(&whole[..length]), None);
        }
        assert_eq!(end_point_hash(&[SEQUENCE, 0x84, 0xff, 0xff, 0xff, 0xff, 0]), None);
        assert_eq!(end_point_hash(&[SEQUENCE, 0xff, 0]), None);
    }
}
