//! The text that runs on devices, run here: an interpreter for as much of PTX as it uses. What it does to memory is compared
//! with what the host computes. Whether a device's compiler takes the text is for a device, or for ptxas.

use std::collections::HashMap;

use plimsoll_gpu_hog::pattern::{ELEMENT, differing, element};

const TEXT: &str = include_str!("../src/kernels.ptx");

/// Where the memory of these tests begins, so that an address is never mistaken for an index.
const BASE: u64 = 1 << 40;
/// More steps than any thread here takes.
const STEPS: usize = 100_000;

/// A kernel: the names of its parameters and its instructions, with labels resolved.
struct Kernel {
    parameters: Vec<String>,
    instructions: Vec<String>,
    labels: HashMap<String, usize>,
}

impl Kernel {
    fn named(name: &str) -> Kernel {
        let (_, after) = TEXT.split_once(&format!(".entry {name}(")).expect("the kernel is there");
        let (parameters, after) = after.split_once(')').unwrap();
        let (_, body) = after.split_once('{').unwrap();
        // Vectors have braces, too; the body's own stands on a line of its own.
        let (body, _) = body.split_once("\n}").unwrap();
        let names = parameters.split(',').filter_map(|parameter| parameter.split_whitespace().last());
        let mut kernel = Kernel {
            parameters: names.map(str::to_owned).collect(),
            instructions: Vec::new(),
            labels: HashMap::new(),
        };
        for line in body.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(".reg")) {
            match line.strip_suffix(':') {
                Some(label) => {
                    kernel.labels.insert(label.to_owned(), kernel.instructions.len());
                }
                None => kernel.instructions.push(line.strip_suffix(';').expect(line).to_owned()),
            }
        }
        kernel
    }

    /// Runs all threads of a grid, one after another.
    fn run(&self, device: &mut Device, (blocks, threads): (u32, u32), arguments: &[u64]) {
        assert_eq!(arguments.len(), self.parameters.len());
        for thread in 0..blocks * threads {
            let special = [
                ("%ctaid.x", thread / threads),
                ("%ntid.x", threads),
                ("%tid.x", thread % threads),
                ("%nctaid.x", blocks),
            ];
            let registers = special.map(|(name, value)| (name.to_owned(), u64::from(value))).into();
            let mut thread = Thread { registers, kernel: self, arguments };
            thread.run(device);
        }
    }
}

/// Memory, and a clock that goes on whenever it is read.
struct Device {
    memory: Vec<u8>,
    clock: u64,
    stores: u64,
}

impl Device {
    fn with(bytes: usize) -> Device {
        Device { memory: vec![0xee; bytes], clock: 5, stores: 0 }
    }

    fn load(&self, address: u64, width: usize) -> u64 {
        let place = (address - BASE) as usize;
        self.memory[place..place + width].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    fn store(&mut self, address: u64, width: usize, value: u64) {
        let place = (address - BASE) as usize;
        self.memory[place..place + width].copy_from_slice(&value.to_le_bytes()[..width]);
        self.stores += 1;
    }
}

struct Thread<'a> {
    registers: HashMap<String, u64>,
    kernel: &'a Kernel,
    arguments: &'a [u64],
}

impl Thread<'_> {
    fn run(&mut self, device: &mut Device) {
        let mut next = 0;
        for _ in 0..STEPS {
            let line = &self.kernel.instructions[next];
            let (guard, instruction) = match line.strip_prefix('@') {
                Some(guarded) => {
                    let (guard, instruction) = guarded.split_once(' ').unwrap();
                    let (name, wanted) = guard.strip_prefix('!').map_or((guard, 1), |name| (name, 0));
                    (self.registers[name] == wanted, instruction)
                }
                None => (true, line.as_str()),
            };
            next += 1;
            if !guard {
                continue;
            }
            let (operation, operands) = instruction.split_once(' ').unwrap_or((instruction, ""));
            match operation {
                "ret" => return,
                "bra" => next = self.kernel.labels[operands],
                _ => self.step(operation, operands, device),
            }
        }
        panic!("it never ends");
    }

    /// The value of a register, a number in bits, or the clock.
    fn value(&self, operand: &str, device: &mut Device) -> u64 {
        if operand == "%globaltimer" {
            device.clock += 1000;
            return device.clock;
        }
        if let Some(bits) = operand.strip_prefix("0x").or_else(|| operand.strip_prefix("0f")) {
            return u64::from_str_radix(bits, 16).unwrap();
        }
        operand.parse().unwrap_or_else(|_| self.registers[operand])
    }

    /// The address in brackets: a register, and perhaps a distance.
    fn address(&self, operand: &str) -> u64 {
        let inner = operand.trim_matches(['[', ']']);
        let (register, distance) = inner.split_once('+').unwrap_or((inner, "0"));
        self.registers[register] + distance.parse::<u64>().unwrap()
    }

    fn step(&mut self, operation: &str, operands: &str, device: &mut Device) {
        // A vector in braces is one operand.
        let (mut parts, mut depth) = (vec![String::new()], 0);
        for letter in operands.chars() {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => parts.push(String::new()),
                _ => parts.last_mut().unwrap().push(letter),
            }
        }
        let parts: Vec<&str> = parts.iter().map(|part| part.trim()).collect();
        let vector = |part: &str| part.split(',').map(|name| name.trim().to_owned()).collect::<Vec<_>>();
        match operation {
            "st.global.v4.u32" => {
                let address = self.address(parts[0]);
                assert!(address.is_multiple_of(16), "a vector has to lie on its own length");
                for (place, name) in (0..).zip(vector(parts[1])) {
                    device.store(address + place * 4, 4, self.registers[&name]);
                }
                return;
            }
            "st.global.u32" => return device.store(self.address(parts[0]), 4, self.registers[parts[1]]),
            "ld.global.v4.u32" => {
                for (place, name) in (0..).zip(vector(parts[0])) {
                    let value = device.load(self.address(parts[1]) + place * 4, 4);
                    self.registers.insert(name, value);
                }
                return;
            }
            _ => {}
        }
        let mut operand = |place: usize| self.value(parts[place], device);
        let float = |bits: u64| f32::from_bits(bits as u32);
        let value = match operation {
            "ld.param.u64" | "ld.param.u32" => {
                let name = parts[1].trim_matches(['[', ']']);
                let place = self.kernel.parameters.iter().position(|parameter| parameter == name).unwrap();
                let mask = if operation.ends_with("u32") { u64::from(u32::MAX) } else { u64::MAX };
                self.arguments[place] & mask
            }
            "cvta.to.global.u64" | "mov.u32" | "mov.u64" | "mov.f32" | "mov.b32" | "cvt.u64.u32" => {
                operand(1)
            }
            "cvt.u32.u64" => operand(1) & u64::from(u32::MAX),
            "cvt.rn.f32.u32" => u64::from((operand(1) as f32).to_bits()),
            "add.u64" => operand(1).wrapping_add(operand(2)),
            "sub.u64" => operand(1).wrapping_sub(operand(2)),
            "mul.wide.u32" => operand(1) * operand(2),
            "mul.lo.u32" => u64::from((operand(1) as u32).wrapping_mul(operand(2) as u32)),
            "xor.b32" => operand(1) ^ operand(2),
            "or.b32" => operand(1) | operand(2),
            "not.b32" => u64::from(!(operand(1) as u32)),
            "shl.b32" => u64::from((operand(1) as u32) << operand(2)),
            "shl.b64" => operand(1) << operand(2),
            "shr.u32" | "shr.u64" => operand(1) >> operand(2),
            "fma.rn.f32" => {
                u64::from(float(operand(1)).mul_add(float(operand(2)), float(operand(3))).to_bits())
            }
            "setp.ge.u64" => u64::from(operand(1) >= operand(2)),
            "setp.lt.u64" => u64::from(operand(1) < operand(2)),
            "setp.eq.u32" => u64::from(operand(1) == operand(2)),
            "setp.lt.f32" => u64::from(float(operand(1)) < float(operand(2))),
            "atom.global.add.u64" | "atom.global.min.u64" => {
                let (address, by) = (self.address(parts[1]), self.registers[parts[2]]);
                let before = device.load(address, 8);
                let after = if operation.contains("add") { before.wrapping_add(by) } else { before.min(by) };
                device.store(address, 8, after);
                before
            }
            _ => panic!("'{operation}' is not known here"),
        };
        self.registers.insert(parts[0].to_owned(), value);
    }
}

/// Across the border of 32 bits, since cards have more elements than that.
const FIRST: u64 = (1 << 32) - 10;
const COUNT: u64 = 29;
const GRID: (u32, u32) = (2, 4);
/// Where the two numbers of a comparison lie: behind everything else.
const RESULT: u64 = 64 * ELEMENT;

fn filled(seed: u32) -> Device {
    let mut device = Device::with(RESULT as usize + 16);
    Kernel::named("plimsoll_fill").run(&mut device, GRID, &[BASE, COUNT, FIRST, seed.into()]);
    device
}

fn compared(device: &mut Device, seed: u32, first: u64) -> (u64, u64) {
    device.store(BASE + RESULT, 8, 0);
    device.store(BASE + RESULT + 8, 8, u64::MAX);
    let arguments = [BASE, COUNT, first, seed.into(), BASE + RESULT];
    Kernel::named("plimsoll_verify").run(device, GRID, &arguments);
    (device.load(BASE + RESULT, 8), device.load(BASE + RESULT + 8, 8))
}

#[test]
fn the_device_writes_the_pattern_that_the_host_computes() {
    for seed in [0, 1, 0xdead_beef, u32::MAX] {
        let device = filled(seed);
        let end = (COUNT * ELEMENT) as usize;
        assert_eq!(differing(&device.memory[..end], seed, FIRST), 0);
        assert_eq!(device.memory[..16], element(seed, FIRST));
        // Nothing beyond its end is touched.
        assert!(device.memory[end..].iter().all(|byte| *byte == 0xee));
    }
}

#[test]
fn the_device_finds_every_difference_and_the_first() {
    let mut device = filled(7);
    assert_eq!(compared(&mut device, 7, FIRST), (0, u64::MAX));
    assert_eq!(compared(&mut device, 8, FIRST), (COUNT, FIRST));
    assert_eq!(compared(&mut device, 7, FIRST + 1), (COUNT, FIRST + 1));
    // Any one bit of any part of an element.
    for byte in 0..ELEMENT {
        let mut device = filled(7);
        device.memory[(20 * ELEMENT + byte) as usize] ^= 0x40;
        assert_eq!(compared(&mut device, 7, FIRST), (1, FIRST + 20));
        device.memory[(3 * ELEMENT) as usize] ^= 1;
        assert_eq!(compared(&mut device, 7, FIRST), (2, FIRST + 3));
    }
}

#[test]
fn the_device_is_busy_for_as_long_as_told_and_writes_nothing() {
    let mut device = Device::with(16);
    let began = device.clock;
    Kernel::named("plimsoll_busy").run(&mut device, (1, 2), &[50_000, BASE]);
    let took = device.clock - began;
    assert!((100_000..110_000).contains(&took), "{took}");
    assert_eq!(device.stores, 0);
}
