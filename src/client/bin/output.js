/*
 * The output. Others may publish control characters: a terminal obeys some, and
 * some show a text as another one. The output has \uXXXX instead, which is the
 * same text in JSON. Joiners stay, as emoji need them.
 */

const RISKY = /(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

function escaped(c) {
    return Array.from({ length: c.length }, (_, i) => "\\u"
        + c.charCodeAt(i).toString(16).padStart(4, "0")).join("");
}

/* What should be a text, but may be anything that a server has sent. */

export function text(value) {
    return typeof value === "string" ? value : String(JSON.stringify(value));
}

export function clean(value) {
    return text(value).replace(RISKY, escaped);
}

export function json(value) {
    return JSON.stringify(value).replace(RISKY, escaped);
}

/* A word of a line, which can't be taken for several. */

export function word(value) {
    const plain = text(value);

    return /^[^\s"\\]+$/.test(plain) ? clean(plain) : json(plain);
}

/* Our own words, or what is clean. */

export function print(line) {
    process.stdout.write(line);
}

export function complain(line) {
    process.stderr.write("fanout: " + clean(line) + "\n");
}

/* A reader that has enough, as head has, is no error. */

export function onPipeEnd(end) {
    process.stdout.on("error", (e) => {
        if (e.code === "EPIPE") {
            end();

        } else {
            complain(e.message);
            process.exit(1);
        }
    });
    process.stderr.on("error", () => {});
}

const colored = process.stdout.isTTY && !process.env.NO_COLOR
                && process.env.TERM !== "dumb";

function dim(text) {
    return colored ? `\x1b[2m${text}\x1b[0m` : text;
}

/*
 * One line for one object: as JSON, or for people: its time, words that say
 * what it is, and its data. Absent words are left out.
 */

export function printer(format) {
    if (format === "json") {
        return (object) => print(json(object) + "\n");
    }

    return (object, words, data, time = Date.now()) => {
        const at = new Date(time);
        const clock = Number.isNaN(at.getTime()) ? "?"
                      : at.toTimeString().slice(0, 8);
        const said = words.filter((w) => w !== undefined && w !== "").map(word);

        print([dim(clock), ...said,
               ...data === undefined ? [] : [json(data)]].join(" ") + "\n");
    };
}
