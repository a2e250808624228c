//! Compiled zone files, as RFC 8536 has them.

/// A zone file: the offset before the first change, each change with the offset after it, in
/// seconds, and the rule for the times after the last change, which may be empty.
pub fn zone_file(first: i64, changes: &[(i64, i64)], rule: &str) -> Vec<u8> {
    // The block of version 1 is there for older readers.
    let mut file = header(0, 1);
    file.extend(local_time_type(0));
    file.extend(b"XXX\0");
    file.extend(header(changes.len(), changes.len() + 1));
    for (at, _) in changes {
        file.extend(at.to_be_bytes());
    }
    file.extend((1..=changes.len()).map(|index| u8::try_from(index).unwrap()));
    file.extend(local_time_type(first));
    for (_, offset) in changes {
        file.extend(local_time_type(*offset));
    }
    file.extend(format!("XXX\0\n{rule}\n").bytes());
    file
}

fn header(changes: usize, types: usize) -> Vec<u8> {
    let mut header = b"TZif2".to_vec();
    header.extend([0; 15]);
    for count in [0, 0, 0, changes, types, 4] {
        header.extend(u32::try_from(count).unwrap().to_be_bytes());
    }
    header
}

fn local_time_type(offset: i64) -> Vec<u8> {
    let mut block = i32::try_from(offset).unwrap().to_be_bytes().to_vec();
    block.extend([0, 0]);
    block
}
