//! Heads of pages as Thrift spells them, whole and damaged.

use super::*;

/// A footer whose schema has groups of so many children, and a list of row groups that
/// states so many.
fn footer(children: &[u32], elements: u8, row_groups: u8) -> Vec<u8> {
    let mut bytes = vec![0x15, 2, 0x19, 0xfc, elements];
    for &children in children {
        bytes.push(0x55);
        let mut value = u64::from(children) << 1;
        while value >= 0x80 {
            bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        bytes.extend([value as u8, 0]);
    }
    bytes.extend([0x29, 0xfc, row_groups, 0]);
    bytes
}

#[test]
fn a_schema_is_a_tree_of_the_elements_there_are() {
    let check = |children: &[u32]| {
        let size = check_footer(&footer(children, children.len() as u8, 0))?;
        assert_eq!(size.columns, children.len() as u64);
        // The footer itself is one, too.
        assert_eq!(size.structures, size.columns + 1);
        Ok::<_, Malformed>(())
    };
    assert_eq!(check(&[0]), Ok(()));
    assert_eq!(check(&[2, 0, 1, 0]), Ok(()));
    assert!(check(&[2, 0]).is_err(), "more children than elements");
    assert!(check(&[i32::MAX as u32, 0]).is_err());
    assert!(check(&[u32::MAX, 0]).is_err(), "a negative number");
    let deep = |depth: usize| check(&[vec![1; depth], vec![0]].concat());
    assert_eq!(deep(MAX_SCHEMA_DEPTH), Ok(()));
    assert!(deep(MAX_SCHEMA_DEPTH + 1).is_err());
    // Many groups beside each other are not deep.
    let wide: Vec<u32> = [vec![60], [1, 0].repeat(60)].concat();
    assert_eq!(check(&wide), Ok(()));
}

#[test]
fn a_list_has_no_more_elements_than_bytes() {
    assert!(check_footer(&footer(&[0], 1, 0)).is_ok());
    assert!(check_footer(&footer(&[0], 1, 90)).is_err());
    assert!(check_footer(&footer(&[0], 9, 0)).is_err());
    assert!(check_structure(&[0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x0f, 0]).is_err());
    assert!(check_structure(&[0x1b, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x55, 0]).is_err());
}

#[test]
fn structures_are_nested_only_so_deeply() {
    let nested = |depth: usize| [vec![0x1c; depth], vec![0; depth + 1]].concat();
    assert_eq!(check_structure(&nested(MAX_DEPTH - 1)), Ok(()));
    assert_eq!(check_structure(&nested(MAX_DEPTH)), Err(TOO_DEEP));
    assert_eq!(check_structure(&[0x19; 5_000]), Err(TOO_DEEP));
}

#[test]
fn a_page_header_states_its_sizes_and_ends_where_it_ends() {
    // A data page of 300 bytes, 200 of them stored, with a header of its own kind.
    let whole = [
        0x15, 0, 0x15, 0xd8, 4, 0x15, 0x90, 3, 0x2c, 0x15, 2, 0, 0, 0xff,
    ];
    let header = PageHeader {
        is_index: false,
        uncompressed_bytes: 300,
        compressed_bytes: 200,
        header_bytes: 13,
    };
    assert_eq!(page_header(&whole), Ok(Some(header)));
    for end in 0..13 {
        assert_eq!(page_header(&whole[..end]), Ok(None), "{end}");
    }
    let index = [0x15, 2, 0x15, 2, 0x15, 2, 0];
    assert!(page_header(&index).unwrap().unwrap().is_index);
    for bad in [
        &[0x15, 0, 0][..],
        &[0x15, 0, 0x15, 1, 0x15, 2, 0],
        &[0x18, 0, 0],
    ] {
        assert!(page_header(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn every_cut_is_noticed() {
    let whole = footer(&[2, 0, 1, 0], 4, 0);
    for end in 0..whole.len() {
        assert!(check_footer(&whole[..end]).is_err(), "{end}");
    }
}
