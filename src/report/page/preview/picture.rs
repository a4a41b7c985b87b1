//! Pictures of artifacts: which may be shown. Nothing is decoded here.
//!
//! Promises: only what begins as a PNG, a JPEG, a GIF or a WebP does, and says itself that it has a size that a browser
//! can unpack; a picture of a hundred thousand pixels on each side is not shown, however few bytes it has.

/// So many pixels on a side, and in all.
const MAX_SIDE: u32 = 8192;
const MAX_PIXELS: u64 = 16 << 20;

/// A picture that may be shown.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Picture {
    pub(super) media_type: &'static str,
    pub(super) width: u32,
    pub(super) height: u32,
}

/// What bytes are a picture of.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// No picture of a kind that is shown.
    None,
    /// One that says no size, or too large a one.
    TooLarge(&'static str),
    /// One that may be shown.
    Shown(Picture),
}

/// Looks at the beginning of a file.
pub(super) fn find(bytes: &[u8]) -> Found {
    let (media_type, size) = if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        ("image/png", png(bytes))
    } else if bytes.starts_with(b"\xff\xd8\xff") {
        ("image/jpeg", jpeg(bytes))
    } else if bytes.starts_with(b"GIF87a") || bytes.starts_with(b"GIF89a") {
        ("image/gif", gif(bytes))
    } else if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        ("image/webp", webp(bytes))
    } else {
        return Found::None;
    };
    match size {
        Some((width, height))
            if (1..=MAX_SIDE).contains(&width)
                && (1..=MAX_SIDE).contains(&height)
                && u64::from(width) * u64::from(height) <= MAX_PIXELS =>
        {
            Found::Shown(Picture {
                media_type,
                width,
                height,
            })
        }
        Some(_) | None => Found::TooLarge(media_type),
    }
}

fn big(bytes: &[u8], at: usize) -> Option<u32> {
    let four: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_be_bytes(four))
}

fn two(bytes: &[u8], at: usize) -> Option<[u8; 2]> {
    bytes.get(at..at + 2)?.try_into().ok()
}

fn png(bytes: &[u8]) -> Option<(u32, u32)> {
    let is_header = bytes.get(12..16)? == b"IHDR";
    is_header.then_some(())?;
    Some((big(bytes, 16)?, big(bytes, 20)?))
}

/// The larger of the screen and of the first picture on it: a browser makes room for both.
fn gif(bytes: &[u8]) -> Option<(u32, u32)> {
    let side = |at| Some(u32::from(u16::from_le_bytes(two(bytes, at)?)));
    let flags = *bytes.get(10)?;
    let colours = match flags & 0x80 {
        0 => 0,
        _ => 3 << ((flags & 7) + 1),
    };
    let mut at = 13 + colours;
    while *bytes.get(at)? == 0x21 {
        at += 2;
        // Pieces, each with its length before it, until one of none.
        while let length @ 1.. = *bytes.get(at)? {
            at += 1 + usize::from(length);
        }
        at += 1;
    }
    (*bytes.get(at)? == 0x2c).then_some(())?;
    Some((
        side(6)?.max(side(at + 1)? + side(at + 5)?),
        side(8)?.max(side(at + 3)? + side(at + 7)?),
    ))
}

/// The first frame header that there is.
fn jpeg(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut at = 2;
    loop {
        let [mark, kind] = two(bytes, at)?;
        if mark != 0xff {
            return None;
        }
        match kind {
            0xff => at += 1,
            0x01 | 0xd0..=0xd9 => at += 2,
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                let side = |at| Some(u32::from(u16::from_be_bytes(two(bytes, at)?)));
                return Some((side(at + 7)?, side(at + 5)?));
            }
            _ => at += 2 + usize::from(u16::from_be_bytes(two(bytes, at + 2)?)),
        }
    }
}

fn webp(bytes: &[u8]) -> Option<(u32, u32)> {
    let three = |at: usize| {
        let it = bytes.get(at..at + 3)?;
        Some(u32::from(it[0]) | u32::from(it[1]) << 8 | u32::from(it[2]) << 16)
    };
    match bytes.get(12..16)? {
        b"VP8X" => Some((three(24)? + 1, three(27)? + 1)),
        b"VP8L" => {
            let bits = u32::from_le_bytes(bytes.get(21..25)?.try_into().ok()?);
            Some(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1))
        }
        b"VP8 " => {
            let side = |at| Some(u32::from(u16::from_le_bytes(two(bytes, at)?) & 0x3fff));
            Some((side(26)?, side(28)?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
        bytes.extend(width.to_be_bytes());
        bytes.extend(height.to_be_bytes());
        bytes
    }

    #[test]
    fn a_picture_says_how_large_it_is() {
        let shown = |media_type, width, height| {
            Found::Shown(Picture {
                media_type,
                width,
                height,
            })
        };
        assert_eq!(find(&header(3, 4)), shown("image/png", 3, 4));
        let jpeg = b"\xff\xd8\xff\xe0\0\x04ab\xff\xc0\0\x11\x08\0\x02\0\x03";
        assert_eq!(find(jpeg), shown("image/jpeg", 3, 2));
        // Two colours, an extension, and a picture that is larger than its screen.
        let gif = b"GIF89a\x03\0\x02\0\x80\0\0rgbrgb!\xf9\x02xx\x01x\0,\x01\0\0\0\x08\0\x02\0";
        assert_eq!(find(gif), shown("image/gif", 9, 2));
        let webp = b"RIFF\0\0\0\0WEBPVP8X\0\0\0\0\0\0\0\0\x02\0\0\x01\0\0";
        assert_eq!(find(webp), shown("image/webp", 3, 2));
    }

    #[test]
    fn a_bomb_is_not_shown() {
        assert_eq!(
            find(&header(100_000, 100_000)),
            Found::TooLarge("image/png")
        );
        assert_eq!(find(&header(8000, 8000)), Found::TooLarge("image/png"));
        assert_eq!(find(&header(0, 1)), Found::TooLarge("image/png"));
        assert_eq!(find(b"\x89PNG\r\n\x1a\n"), Found::TooLarge("image/png"));
        assert_eq!(find(b"\xff\xd8\xff\xe0\0\0"), Found::TooLarge("image/jpeg"));
        let gif = b"GIF89a\x01\0\x01\0\0\0\0,\0\0\0\0\xff\xff\xff\xff";
        assert_eq!(find(gif), Found::TooLarge("image/gif"));
        assert_eq!(find(b"GIF89a\x03\0\x02\0"), Found::TooLarge("image/gif"));
        assert_eq!(find(b"<svg onload='alert(1)'>"), Found::None);
    }
}
