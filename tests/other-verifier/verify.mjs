// Verifies an export of the audit log, or a proof from it, with root keys alone. Written from docs/audit-log.md, with nothing
// but Node's standard library, to show that the page is enough.
//
//   node verify.mjs log <folder> <root,root>      node verify.mjs proof <file> <root,root>
//
// Prints one JSON object: verified, first_bad_entry, faults. Exit code 0 or 65.

import { createHash, createPublicKey, verify as verifySignature } from "node:crypto";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash("sha256")).digest();
const entryHash = (entry) => sha256(Buffer.of(0), entry);
const nodeHash = (left, right) => sha256(Buffer.of(1), left, right);
const hex = (bytes) => bytes.toString("hex");

class Wrong extends Error {
  constructor(text, entry = null) {
    super(text);
    this.entry = entry;
  }
}
const need = (condition, text, entry) => {
  if (!condition) throw new Wrong(text, entry);
};

// ---- Ed25519 ----

const SPKI = Buffer.from("302a300506032b6570032100", "hex");

function signedBy(raw, message, signature) {
  const key = createPublicKey({ key: Buffer.concat([SPKI, raw]), format: "der", type: "spki" });
  return signature.length === 64 && verifySignature(null, message, key, signature);
}
const tagged = (tag, body) => Buffer.concat([Buffer.from(tag), Buffer.of(0), body]);
const keyId = (algorithm, raw) =>
  hex(sha256(Buffer.of(algorithm >> 8, algorithm & 255), raw).subarray(0, 16));
const ED25519 = 2055;

// ---- protobuf ----

function message(bytes) {
  const fields = new Map();
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      need(at < bytes.length && shift < 64n, "protobuf: torn");
      const byte = bytes[at++];
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return BigInt.asUintN(64, value);
    }
  };
  while (at < bytes.length) {
    const tag = Number(varint());
    let value;
    if ((tag & 7) === 0) value = varint();
    else {
      const length = { 1: 8, 2: 0, 5: 4 }[tag & 7] ?? need(false, "protobuf: wire type");
      const end = (tag & 7) === 2 ? Number(varint()) : length;
      need(at + end <= bytes.length, "protobuf: torn");
      value = bytes.subarray(at, (at += end));
    }
    const number = tag >> 3;
    fields.set(number, [...(fields.get(number) ?? []), value]);
  }
  const last = (number) => fields.get(number)?.at(-1);
  return {
    all: (number) => fields.get(number) ?? [],
    bytes: (number) => last(number) ?? Buffer.alloc(0),
    text: (number) => (last(number) ?? Buffer.alloc(0)).toString(),
    number: (number) => Number(BigInt.asIntN(64, last(number) ?? 0n)),
    has: (number) => fields.has(number),
  };
}

// ---- registry ----

const KINDS = ["", "bank", "upstream", "notifier", "hub"];

function counts(key, at) {
  return key.validFrom <= at && (key.revokedAt === null || at < key.revokedAt);
}

function registry(lines, roots) {
  const parties = new Map();
  lines.forEach((line, n) => {
    const record = message(Buffer.from(line.value, "hex"));
    const body = record.bytes(1);
    const signers = new Set();
    for (const bytes of record.all(2)) {
      const signature = message(bytes);
      const root = roots.find((root) => keyId(ED25519, root) === hex(signature.bytes(1)));
      if (root && signedBy(root, tagged("registry-entry/v1", body), signature.bytes(2))) signers.add(hex(root));
    }
    need(signers.size >= 2, `registry line ${n + 1}: fewer than two roots signed`);
    const entry = message(body);
    const name = `${KINDS[entry.number(1)]}/${entry.text(2)}`;
    need(line.key === name, `registry line ${n + 1}: another record key`);
    const keys = entry.all(5).map((bytes) => {
      const key = message(bytes);
      const publicKey = message(key.bytes(2));
      const [algorithm, raw] = [publicKey.number(1), publicKey.bytes(2)];
      const revokedAt = key.number(4) ? key.number(5) || line.append_time_ms : null;
      return { id: keyId(algorithm, raw), signs: key.number(1) === 1, raw, validFrom: key.number(3), revokedAt };
    });
    const version = entry.number(3);
    const before = parties.get(name);
    if (before) {
      if (version === before.version && body.equals(before.body)) return;
      need(version > before.version, `registry line ${n + 1}: an old version`);
      for (const old of before.keys) {
        const now = keys.find((key) => key.id === old.id);
        const kept = now && now.validFrom === old.validFrom && (old.revokedAt === null || now.revokedAt !== null);
        need(kept, `registry line ${n + 1}: a key was dropped`);
        now.revokedAt = old.revokedAt ?? now.revokedAt;
      }
      const added = keys.some((key) => !before.keys.some((old) => old.id === key.id));
      if (added && before.keys.some((key) => key.signs)) {
        const rotation = message(record.bytes(3));
        const signer = before.keys.find((key) => key.id === hex(rotation.bytes(1)) && key.signs);
        const skipped = !signer && record.has(3) && version > before.version + 1;
        const signed =
          signer &&
          counts(signer, line.append_time_ms) &&
          signedBy(signer.raw, tagged("registry-rotation/v1", body), rotation.bytes(2));
        need(signed || skipped, `registry line ${n + 1}: nobody signed for the new keys`);
      }
    }
    parties.set(name, { version, body, keys });
  });
  need(parties.has("hub/hub"), "the registry has no hub");
  return parties;
}

function keyAt(party, id, at) {
  const key = party?.keys.find((key) => key.id === id && key.signs);
  return key && counts(key, at) ? key.raw : null;
}

function parseLines(text) {
  let before = -1;
  return text.split("\n").slice(0, -1).map((line, n) => {
    let { offset, append_time_ms, key, value } = {};
    try {
      ({ offset, append_time_ms, key, value } = JSON.parse(line));
    } catch {
      need(false, `registry line ${n + 1}: no JSON`);
    }
    need(JSON.stringify({ offset, append_time_ms, key, value }) === line, `registry line ${n + 1}: another spelling`);
    need(/^([0-9a-f]{2})*$/.test(value), `registry line ${n + 1}: no hex`);
    need(offset > before, `registry line ${n + 1}: offsets do not grow`);
    before = offset;
    return { offset, append_time_ms, key, value };
  });
}

// ---- checkpoints ----

function split(text) {
  const notes = [];
  let note = "";
  let signed = false;
  for (const line of text.match(/[^\n]*\n|[^\n]+$/g) ?? []) {
    const signature = line.startsWith("\u2014");
    if (signed && !signature) {
      notes.push(note);
      note = "";
    }
    signed = signature;
    note += line;
  }
  return note ? [...notes, note] : notes;
}

function base64(text) {
  const bytes = Buffer.from(text, "base64");
  return bytes.toString("base64") === text ? bytes : null;
}

function checkpoint(note, hub, where) {
  const end = note.indexOf("\n\n");
  need(end >= 0 && Buffer.byteLength(note) <= 4096, `${where}: no note`);
  const text = note.slice(0, end + 1);
  const found = /^([^\n]+)\n(0|[1-9][0-9]*)\n([A-Za-z0-9+/=]+)\ntime (0|[1-9][0-9]*)\n$/.exec(text);
  need(found, `${where}: no checkpoint`);
  const [, origin, size, root64, time] = found;
  const root = base64(root64);
  need(root?.length === 32, `${where}: no root`);
  need(note.endsWith("\n"), `${where}: the last line has no end`);
  const lines = note.slice(end + 2, -1).split("\n");
  for (const line of lines) {
    const parts = /^\u2014 ([^ ]+) ([^ ]+)$/.exec(line);
    const bytes = parts && base64(parts[2]);
    need(bytes, `${where}: a signature line is none`);
    if (parts[1] !== origin) continue;
    for (const key of hub.keys.filter((key) => key.signs)) {
      const hash = sha256(Buffer.from(origin), Buffer.of(10, 1), key.raw).subarray(0, 4);
      if (!hash.equals(bytes.subarray(0, 4))) continue;
      need(counts(key, Number(time)), `${where}: the key does not count at that time`);
      need(signedBy(key.raw, Buffer.from(text), bytes.subarray(4)), `${where}: the signature is wrong`);
      return { origin, size: Number(size), root, where };
    }
  }
  throw new Wrong(`${where}: not signed by the hub`);
}

// ---- trees ----

class Frontier {
  size = 0;
  peaks = [];
  push(hash) {
    for (let n = this.size; n % 2 === 1; n = (n - 1) / 2) hash = nodeHash(this.peaks.pop(), hash);
    this.peaks.push(hash);
    this.size += 1;
  }
  root() {
    return this.peaks.length ? this.peaks.reduceRight((right, left) => nodeHash(left, right)) : sha256();
  }
}

function rootOf(hashes) {
  const tree = new Frontier();
  hashes.forEach((hash) => tree.push(hash));
  return tree.root();
}

// RFC 9162, 2.1.3.2
function leadsTo(hash, index, size, path) {
  if (index >= size) return null;
  let [node, last] = [index, size - 1];
  for (const sibling of path) {
    if (last === 0) return null;
    if (node % 2 === 1 || node === last) {
      hash = nodeHash(sibling, hash);
      while (node % 2 === 0 && node !== 0) [node, last] = [node / 2, Math.floor(last / 2)];
    } else {
      hash = nodeHash(hash, sibling);
    }
    [node, last] = [Math.floor(node / 2), Math.floor(last / 2)];
  }
  return last === 0 ? hash : null;
}

function hashes(bytes) {
  need(bytes.length % 32 === 0, "no list of hashes");
  return Array.from({ length: bytes.length / 32 }, (_, n) => bytes.subarray(32 * n, 32 * n + 32));
}

// ---- leaves ----

class Fields {
  constructor(bytes) {
    this.rest = bytes;
  }
  get more() {
    return this.rest.length > 0;
  }
  bytes(length = null) {
    need(this.rest.length >= 2, "leaf: torn");
    const end = 2 + this.rest.readUInt16BE();
    need(this.rest.length >= end, "leaf: torn");
    const field = this.rest.subarray(2, end);
    need(length === null || field.length === length, "leaf: a field of another length");
    this.rest = this.rest.subarray(end);
    return field;
  }
  text() {
    return this.bytes().toString();
  }
  int() {
    return Number(this.bytes(8).readBigInt64BE());
  }
  flag() {
    const flag = this.int();
    need(flag === 0 || flag === 1, "leaf: no flag");
    return flag === 1;
  }
  record() {
    return { topic: this.text(), partition: this.int(), offset: this.int() };
  }
  // Banks in ascending order, each once.
  banks(item) {
    const banks = new Map();
    let before = "";
    while (this.more) {
      const bank = this.text();
      need(bank > before && /^[a-z0-9]{2,16}$/.test(bank), "leaf: banks out of order");
      banks.set((before = bank), item());
    }
    return banks;
  }
}

function encoded(...fields) {
  return Buffer.concat(
    fields.flatMap((field) => {
      const bytes = Buffer.from(field);
      return [Buffer.of(bytes.length >> 8, bytes.length & 255), bytes];
    }),
  );
}

const accepted = (f) => ({
  digest: f.bytes(32),
  reportKey: f.bytes(16),
  record: f.record(),
  times: [f.int(), f.int(), f.int()],
  eraseOn: f.text(),
  statements: f.banks(() => f.bytes(32)),
});
const timed = (f) => ({ at: f.int() });
const FORMS = {
  registered: accepted,
  released: accepted,
  held: (f) => [f.bytes(32), f.bytes(16), f.record(), f.int(), f.int(), f.int(), f.text()],
  cancelled: timed,
  withdrawn: timed,
  "release-refused": (f) => ({ record: f.record(), code: f.text() }),
  risk: (f) => ({ record: f.record(), decision: f.text(), pretext: f.int(), flags: [f.flag(), f.flag(), f.flag(), f.flag()] }),
  rejected: (f) => [f.bytes(32), f.record(), f.int(), f.text()],
  final: (f) => ({
    state: f.int(),
    at: f.int(),
    coverage: f.bytes(32),
    registryOffset: f.int(),
    outcomes: f.banks(() => {
      const [outcome, conflict, word] = [f.int(), f.flag(), f.text()];
      if (word === "none") return { outcome, conflict, word };
      need(word === "answered" || word === "refused", "leaf: no word");
      return { outcome, conflict, word, segment: f.bytes(32), appended: f.int(), partition: f.int(), offset: f.int() };
    }),
  }),
  replies: (f) => ({
    banks: f.banks(() => ({
      header: f.bytes(),
      statement: f.bytes(),
      keyId: f.bytes(16),
      signature: f.bytes(64),
      index: f.int(),
      path: hashes(f.bytes()),
    })),
  }),
  viewed: (f) => ({ nonce: f.bytes(16), grant: f.bytes(32), at: f.int() }),
  "grant-refused": (f) => ({ grant: f.bytes(32), code: f.text(), at: f.int() }),
  erased: (f) => ({ day: f.text(), at: f.int() }),
  receipt: (f) => ({ day: f.text(), keyId: f.bytes(), signature: f.bytes(), body: f.bytes() }),
};

function leaf(bytes) {
  const fields = new Fields(bytes);
  const [form, kind] = [fields.text(), fields.text()];
  if (form !== "audit-leaf/v1" || !(kind in FORMS)) {
    need(/^audit-leaf\//.test(form) && /^[a-z-]{1,32}$/.test(kind), "leaf: of no form");
    return { kind: null };
  }
  const query = kind === "receipt" ? null : { upstream: fields.text(), id: fields.bytes(16) };
  const said = FORMS[kind](fields);
  need(!fields.more, "leaf: it goes on");
  return { kind, query, said, id: leafId(kind, query, said) };
}

function leafId(kind, query, said) {
  const more = {
    "release-refused": () => `/${said.record.partition}/${said.record.offset}`,
    risk: () => `/${said.record.partition}/${said.record.offset}`,
    viewed: () => `/${hex(said.nonce)}`,
    "grant-refused": () => `/${hex(said.grant)}`,
    replies: () => `/${said.banks.keys().next().value}`,
  }[kind];
  const name = `audit/${kind}${more ? more() : ""}`;
  const fields = query ? [query.upstream, query.id, name] : [name, said.day];
  return hex(sha256(encoded("message-id/v1", ...fields)).subarray(0, 16));
}

const queryName = (query) => {
  const id = hex(query.id);
  const parts = [id.slice(0, 8), id.slice(8, 12), id.slice(12, 16), id.slice(16, 20), id.slice(20)];
  return `${query.upstream}/${parts.join("-")}`;
};

function checkReceipt(said, parties) {
  const receipt = message(said.body);
  const times = [5, 6, 7, 8].map((field) => receipt.number(field));
  const key = keyAt(parties.get("hub/hub"), hex(said.keyId), times[3]);
  need(key && signedBy(key, tagged("erasure-receipt/v1", said.body), said.signature), "receipt: not signed by the hub");
  need(receipt.text(1) === said.day, "receipt: of another day");
  need(times.every((time, n) => n === 0 || times[n - 1] <= time), "receipt: steps out of order");
}

function checkReply(query, bank, proof, chosen, parties) {
  need(chosen && chosen.word !== "none", `${bank}: the report has no reply of it`);
  const key = keyAt(parties.get(`bank/${bank}`), hex(proof.keyId), chosen.appended);
  need(key && signedBy(key, tagged("reply-batch/v1", proof.statement), proof.signature), `${bank}: not signed by it`);
  const statement = message(proof.statement);
  need(statement.text(1) === bank && statement.bytes(2).equals(proof.keyId), `${bank}: of another bank or key`);
  const size = statement.number(4);
  const root = size <= 1024 && leadsTo(entryHash(proof.header), proof.index, size, proof.path);
  need(root && root.equals(statement.bytes(5)), `${bank}: not in the batch`);
  const header = message(proof.header);
  const reference = message(header.bytes(1));
  const requestId = sha256(encoded("request-id/v1", query.upstream, query.id, bank)).subarray(0, 16);
  const own =
    reference.text(1) === query.upstream &&
    reference.bytes(2).equals(query.id) &&
    header.text(3) === bank &&
    header.bytes(2).equals(requestId);
  need(own, `${bank}: about another query`);
  need(["", "answered", "refused"][header.number(4)] === chosen.word, `${bank}: another word`);
  return header.bytes(6);
}

// ---- an export ----

const path = (n) => {
  let text = String(n % 1000).padStart(3, "0");
  for (let rest = Math.floor(n / 1000); rest > 0; rest = Math.floor(rest / 1000)) {
    text = `x${String(rest % 1000).padStart(3, "0")}/${text}`;
  }
  return text;
};

function widest(folder, row, n) {
  const full = join(folder, row, path(n));
  if (existsSync(full)) return { bytes: readFileSync(full), width: 256 };
  if (!existsSync(`${full}.p`)) return null;
  const width = Math.max(...readdirSync(`${full}.p`).map(Number));
  return { bytes: readFileSync(`${full}.p/${width}`), width };
}

function entries(bytes) {
  const found = [];
  for (let at = 0; at + 2 <= bytes.length; ) {
    const end = at + 2 + bytes.readUInt16BE(at);
    if (end > bytes.length) return { found, torn: true };
    found.push(bytes.subarray(at + 2, end));
    at = end;
    if (at + 1 === bytes.length) return { found, torn: true };
  }
  return { found, torn: false };
}

function sizes(folder, prefix = "") {
  return readdirSync(join(folder, prefix), { withFileTypes: true }).flatMap((file) => {
    const name = prefix + file.name;
    return file.isDirectory() ? sizes(folder, `${name}/`) : [Number(name.replace(/[x/]/g, ""))];
  });
}

function verifyLog(folder, roots) {
  const faults = [];
  const fault = (text, entry = null) => faults.push({ text, entry });
  const lines = parseLines(readFileSync(join(folder, "registry/entries.jsonl"), "utf8"));
  const parties = registry(lines, roots);
  const hub = parties.get("hub/hub");

  const notes = new Map();
  const add = (size, note, where) => {
    try {
      const found = checkpoint(note, hub, where);
      need(size === null || found.size === size, `${where}: of another size`);
      notes.set(found.size, [...(notes.get(found.size) ?? []), found]);
    } catch (error) {
      fault(error.message);
    }
  };
  for (const size of sizes(join(folder, "checkpoints")).sort((a, b) => a - b)) {
    const where = `checkpoints/${path(size)}`;
    split(readFileSync(join(folder, where), "utf8")).forEach((note) => add(size, note, where));
  }
  add(null, readFileSync(join(folder, "checkpoint"), "utf8"), "checkpoint");
  need(new Set([...notes.values()].flat().map((note) => note.origin)).size === 1, "not one log");

  // The tree of the entries, compared with the tiles: the first difference of level 0 names the entry.
  const tree = new Frontier();
  const levels = [];
  let differs = null;
  let upper = null;
  let good = 0;
  let leads = true;
  const judge = (size) => {
    for (const note of notes.get(size) ?? []) {
      if (note.root.equals(tree.root())) {
        good = size;
      } else if (leads) {
        leads = false;
        const range = differs ?? upper ?? good;
        fault(`${note.where}: entries do not lead to its root`, Math.max(range, good));
      }
    }
  };
  const read = [];
  judge(0);
  for (let n = 0, last = false; !last; n++) {
    const bundle = widest(folder, "tile/entries", n);
    if (!bundle) {
      if (widest(folder, "tile/0", n) || widest(folder, "tile/entries", n + 1)) fault("a bundle is missing", 256 * n);
      break;
    }
    const tile = widest(folder, "tile/0", n) ?? { bytes: Buffer.alloc(0), width: 0 };
    const { found, torn } = entries(bundle.bytes);
    const width = Math.max(bundle.width, tile.width);
    const row = hashes(tile.bytes.subarray(0, tile.bytes.length - (tile.bytes.length % 32)));
    if (tile.bytes.length !== 32 * width) fault(`tile/0/${path(n)}: of another length`, 256 * n + row.length);
    const own = found.map(entryHash);
    for (let at = 0; at < width; at++) {
      const index = 256 * n + at;
      if (!own[at]) {
        fault("the bundle does not have this entry", differs ?? index);
        return { faults, parties, read: [] };
      }
      if (differs === null && row[at] && !own[at].equals(row[at])) differs = index;
      tree.push(own[at]);
      read.push(found[at]);
      judge(index + 1);
    }
    if (torn || found.length > width) fault("the bundle goes on", 256 * n + width);
    last = width < 256;
    if (last) break;
    for (let level = 1, root = rootOf(own.slice(0, 256)); ; level++) {
      levels[level] ??= { tile: 0, hashes: [] };
      const state = levels[level];
      const stored = widest(folder, `tile/${level}`, state.tile);
      const at = 32 * state.hashes.length;
      const slot = stored?.bytes.subarray(at, at + 32);
      const under = 256 ** level;
      const vouched = (256 * state.tile + state.hashes.length + 1) * under <= Math.max(...notes.keys());
      if (slot?.length ? !slot.equals(root) : vouched) upper ??= (256 * state.tile + state.hashes.length) * under;
      if (stored && stored.bytes.length !== 32 * stored.width) fault(`tile/${level}: of another length`);
      state.hashes.push(root);
      if (state.hashes.length < 256) break;
      root = rootOf(state.hashes);
      levels[level] = { tile: state.tile + 1, hashes: [] };
    }
  }
  if (leads && differs !== null) fault("the tile of level 0 is not that of the entries", differs);
  if (leads && differs === null && upper !== null) fault("a tile above is not that of the entries");
  const largest = Math.max(...notes.keys());
  if (largest > tree.size) fault(`a checkpoint vouches for ${largest} entries`, tree.size);
  return { faults, parties, read };
}

function verifyLeaves(read, parties, faults) {
  const ids = new Map();
  const steps = new Map();
  const finals = new Map();
  const proofs = [];
  const after = { released: "held", cancelled: "held", final: "accepted", viewed: "final" };
  const gives = { registered: "accepted", released: "accepted", held: "held", final: "final" };
  read.forEach((bytes, entry) => {
    try {
      const { kind, query, said, id } = leaf(bytes);
      if (kind === null) return;
      need(!ids.has(id), "the same change as in an earlier entry");
      ids.set(id, entry);
      if (kind === "receipt") return checkReceipt(said, parties);
      const name = queryName(query);
      const seen = steps.get(name) ?? new Set();
      steps.set(name, seen);
      need(!after[kind] || seen.has(after[kind]), `${kind}: nothing before it`);
      if (gives[kind]) seen.add(gives[kind]);
      if (kind === "final") finals.set(name, said);
      if (kind === "replies") proofs.push({ entry, query, name, said });
    } catch (error) {
      faults.push({ text: error.message, entry });
    }
  });
  for (const { entry, query, name, said } of proofs) {
    for (const [bank, proof] of said.banks) {
      try {
        checkReply(query, bank, proof, finals.get(name)?.outcomes.get(bank), parties);
      } catch (error) {
        faults.push({ text: error.message, entry });
      }
    }
  }
}

// ---- a proof ----

function verifyProof(file, roots) {
  const proof = JSON.parse(readFileSync(file, "utf8"));
  need(proof.form === "cardquery-audit-proof/v1", "of another form");
  const parties = registry(proof.registry, roots);
  const note = checkpoint(proof.checkpoint, parties.get("hub/hub"), "checkpoint");
  need(proof.leaves.length > 0, "no leaf");
  const leaves = proof.leaves.map(({ index, leaf: bytes, path }) => {
    const entry = Buffer.from(bytes, "hex");
    const root = leadsTo(entryHash(entry), index, note.size, hashes(Buffer.from(path, "hex")));
    need(root?.equals(note.root), "the path does not lead to the root", index);
    const read = leaf(entry);
    need(read.query && queryName(read.query) === proof.query, "of another query", index);
    return { index, ...read };
  });
  const said = [];
  for (const { index, kind, query, said: replies } of leaves) {
    if (kind !== "replies") continue;
    for (const [bank, signed] of replies.banks) {
      if (proof.bank !== undefined && proof.bank !== bank) continue;
      const chosen = leaves.find((leaf) => leaf.kind === "final")?.said.outcomes.get(bank);
      const statement = checkReply(query, bank, signed, chosen, parties);
      const asked = leaves.filter((leaf) => leaf.said.statements).map((leaf) => leaf.said.statements.get(bank));
      need(asked.length === 0 || asked.some((digest) => digest?.equals(statement)), "answers another statement", index);
      said.push({ bank, word: chosen.word });
    }
  }
  need(proof.bank === undefined || said.length > 0, "no word of that bank");
  return said;
}

const [, , what, place, rootsHex] = process.argv;
const roots = rootsHex.split(",").map((root) => Buffer.from(root, "hex"));
const result = { verified: false, first_bad_entry: null, faults: [] };
try {
  if (what === "proof") {
    result.banks = verifyProof(place, roots);
  } else {
    const { faults, parties, read } = verifyLog(place, roots);
    result.entries = read.length;
    verifyLeaves(faults.length ? [] : read, parties, faults);
    result.faults = faults;
  }
} catch (error) {
  if (!(error instanceof Wrong)) result.faults.push({ text: `${error.name}: ${error.message}`, entry: null });
  else result.faults.push({ text: error.message, entry: error.entry });
}
const bad = result.faults.map((fault) => fault.entry).filter((entry) => entry !== null);
result.first_bad_entry = bad.length ? Math.min(...bad) : null;
result.verified = result.faults.length === 0;
console.log(JSON.stringify(result));
process.exitCode = result.verified ? 0 : 65;
