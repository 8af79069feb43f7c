//! PNG files (ISO/IEC 15948): 8-bit RGB, filtered row by row, deflated.

use miniz_oxide::deflate::compress_to_vec_zlib;

/// An image as a PNG file; `pixels` are rows of RGB.
pub(super) fn encode(width: usize, height: usize, pixels: &[[u8; 3]]) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend((width as u32).to_be_bytes());
    header.extend((height as u32).to_be_bytes());
    // Depth 8, colour type 2 (RGB), deflate, adaptive filters, no interlace.
    header.extend([8, 2, 0, 0, 0]);
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    chunk(&mut file, b"IHDR", &header);
    chunk(
        &mut file,
        b"IDAT",
        &compress_to_vec_zlib(&filter(width, pixels), 7),
    );
    chunk(&mut file, b"IEND", &[]);
    file
}

/// Each row as differences to the row above and the pixel before (Paeth), which gradients love.
fn filter(width: usize, pixels: &[[u8; 3]]) -> Vec<u8> {
    const PAETH: u8 = 4;
    let zero = vec![[0; 3]; width];
    let mut above: &[[u8; 3]] = &zero;
    let mut out = Vec::with_capacity(pixels.len() * 3 + pixels.len() / width.max(1));
    for row in pixels.chunks_exact(width) {
        out.push(PAETH);
        for x in 0..width {
            for c in 0..3 {
                let (a, d) = if x > 0 {
                    (row[x - 1][c], above[x - 1][c])
                } else {
                    (0, 0)
                };
                out.push(row[x][c].wrapping_sub(paeth(a, above[x][c], d)));
            }
        }
        above = row;
    }
    out
}

fn paeth(left: u8, up: u8, corner: u8) -> u8 {
    let (a, b, c) = (i16::from(left), i16::from(up), i16::from(corner));
    let (pa, pb, pc) = ((b - c).abs(), (a - c).abs(), (a + b - 2 * c).abs());
    if pa <= pb && pa <= pc {
        left
    } else if pb <= pc {
        up
    } else {
        corner
    }
}

fn chunk(file: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    file.extend((data.len() as u32).to_be_bytes());
    let from = file.len();
    file.extend(kind);
    file.extend(data);
    let sum = crc(&file[from..]);
    file.extend(sum.to_be_bytes());
}

/// CRC-32 as in ISO 3309.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |s, _| {
            if s & 1 != 0 {
                s >> 1 ^ 0xedb8_8320
            } else {
                s >> 1
            }
        })
    })
}
