// What of the object storage's response describes the archive. Everything else is the storage's own:
// request IDs, metadata, versions, encryption, cookies, instructions for nginx.
const ARCHIVE_HEADERS = [
    'accept-ranges', 'cache-control', 'content-disposition', 'content-encoding', 'content-length',
    'content-range', 'content-type', 'etag', 'last-modified',
];

function keepArchiveHeaders(r) {
    Object.keys(r.headersOut)
        .filter((name) => !ARCHIVE_HEADERS.includes(name.toLowerCase()))
        .forEach((name) => delete r.headersOut[name]);
}

export default { keepArchiveHeaders };
