//! A QEMU plugin (API version 1) that counts the blocks of code executed in one measured call.
//!
//! Arguments: `call` and `end`, the addresses of the firmware's call instruction between two reads of the
//! timer and of what follows it; `nth`, which of these calls to record, from 0. When that call returns, the
//! file `blocks.txt` in the current folder gets a line for each pair of blocks that followed one another:
//! addresses of the first's first and last instruction, address of the second, and how often; all in
//! hexadecimal.
//!
//! Where a block ends is left to the reader, who knows the code: at the end of a page QEMU looks at the
//! instruction behind and counts it as the block's.

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::fmt::Write;
use std::sync::Mutex;

/// The API that this is written for.
#[unsafe(no_mangle)]
pub static qemu_plugin_version: c_int = 1;

#[repr(C)]
struct Translated([u8; 0]);

#[repr(C)]
struct Instruction([u8; 0]);

unsafe extern "C" {
    fn qemu_plugin_register_vcpu_tb_trans_cb(id: u64, call: extern "C" fn(u64, *mut Translated));
    fn qemu_plugin_register_vcpu_tb_exec_cb(
        block: *mut Translated,
        call: extern "C" fn(c_uint, *mut c_void),
        flags: c_int,
        data: *mut c_void,
    );
    fn qemu_plugin_tb_n_insns(block: *const Translated) -> usize;
    fn qemu_plugin_tb_vaddr(block: *const Translated) -> u64;
    fn qemu_plugin_tb_get_insn(block: *const Translated, index: usize) -> *mut Instruction;
    fn qemu_plugin_insn_vaddr(instruction: *const Instruction) -> u64;
}

/// The callback reads no registers.
const NO_REGISTERS: c_int = 0;

/// A block as translated; the same code may be translated more than once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Block {
    first: u64,
    last: u64,
}

struct Recorder {
    call: u64,
    end: u64,
    nth: u64,
    /// Calls that have begun.
    calls: u64,
    /// Whether the call instruction was the last.
    calling: bool,
    recording: bool,
    /// The block executed before, while recording.
    before: Option<Block>,
    blocks: Vec<Block>,
    /// How often an address came after a block.
    pairs: BTreeMap<(Block, u64), u64>,
}

static RECORDER: Mutex<Recorder> = Mutex::new(Recorder {
    call: 0,
    end: 0,
    nth: 0,
    calls: 0,
    calling: false,
    recording: false,
    before: None,
    blocks: Vec::new(),
    pairs: BTreeMap::new(),
});

fn with<T>(act: impl FnOnce(&mut Recorder) -> T) -> T {
    act(&mut RECORDER.lock().unwrap_or_else(|poison| poison.into_inner()))
}

impl Recorder {
    fn execute(&mut self, place: usize) {
        let block = self.blocks[place];
        if block.first == self.end {
            self.finish();
            return;
        }
        // Reads of a device are begun anew as blocks of their own, so this may come twice for a call.
        if (block.first..=block.last).contains(&self.call) {
            self.calling = true;
            return;
        }
        if self.calling {
            self.calling = false;
            self.recording = self.calls == self.nth;
            self.calls += 1;
        }
        if self.recording {
            self.follow(block.first);
            self.before = Some(block);
        }
    }

    fn follow(&mut self, to: u64) {
        if let Some(before) = self.before {
            *self.pairs.entry((before, to)).or_default() += 1;
        }
    }

    fn finish(&mut self) {
        if !self.recording {
            return;
        }
        self.follow(self.end);
        self.recording = false;
        let mut text = String::new();
        for ((Block { first, last }, to), count) in &self.pairs {
            let _ = writeln!(text, "{first:x} {last:x} {to:x} {count:x}");
        }
        // Without the file, whoever started this says that it is missing.
        let _ = std::fs::write("blocks.txt", text);
    }

    fn set(&mut self, argument: &str) -> Option<()> {
        let (name, value) = argument.split_once('=')?;
        let field = match name {
            "call" => &mut self.call,
            "end" => &mut self.end,
            "nth" => &mut self.nth,
            _ => return None,
        };
        *field = value.parse().ok()?;
        Some(())
    }
}

extern "C" fn translated(_: u64, block: *mut Translated) {
    // SAFETY: QEMU hands over a block that lives for the length of this call, and the index is below the
    // number of its instructions.
    let (first, last) = unsafe {
        let last = qemu_plugin_tb_n_insns(block).saturating_sub(1);
        let last = qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(block, last));
        (qemu_plugin_tb_vaddr(block), last)
    };
    let place = with(|recorder| {
        recorder.blocks.push(Block { first, last });
        recorder.blocks.len() - 1
    });
    // SAFETY: as above; the data is a number that nothing is read through.
    unsafe {
        qemu_plugin_register_vcpu_tb_exec_cb(block, executed, NO_REGISTERS, place as *mut c_void);
    }
}

extern "C" fn executed(_: c_uint, place: *mut c_void) {
    with(|recorder| recorder.execute(place as usize));
}

/// Called by QEMU when it loads the plugin.
///
/// # Safety
/// `arguments` must be `count` C strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qemu_plugin_install(
    id: u64,
    _: *const c_void,
    count: c_int,
    arguments: *const *const c_char,
) -> c_int {
    for index in 0..count as usize {
        // SAFETY: QEMU hands over so many strings.
        let argument = unsafe { CStr::from_ptr(*arguments.add(index)) };
        let known = argument
            .to_str()
            .ok()
            .and_then(|text| with(|r| r.set(text)));
        if known.is_none() {
            return 1;
        }
    }
    // SAFETY: the function lives as long as the plugin.
    unsafe { qemu_plugin_register_vcpu_tb_trans_cb(id, translated) };
    0
}
