// Upload an image, request a rendition, download it, and read lists: with the client that openapi-ts generates.
// Arguments: the service's URL, the image, the file to write, and an API key.

import { readFile, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

import { getImage, getRendition, listCollections, listImages, requestProcessing, uploadImage } from './client';
import type { ListCollectionsData, ListImagesData } from './client';
import { client } from './client/client.gen';

async function waitForRenditions(uuid: string) {
    for (let attempt = 0; attempt < 300; attempt++) {
        const { data: image } = await getImage<true>({ path: { uuid } });
        if (image.status === 'failed') throw new Error(image.error?.message);
        if (image.status === 'succeeded' && !image.pendingRenditions?.length) return image;
        await sleep(100);
    }
    throw new Error(`${uuid} is still being processed`);
}

// Follow the cursors of the list of images, which are in a header.
async function listAllImages() {
    const query: NonNullable<ListImagesData['query']> = { limit: 1, status: 'all', include: 'none' };
    const uuids: string[] = [];
    do {
        const { data: images, response } = await listImages<true>({ query });
        uuids.push(...images.map((image) => image.uuid));
        query.after = response.headers.get('X-Next-Cursor');
    } while (query.after);
    return uuids;
}

// Follow the cursors of the list of collections, which are in the body.
async function countCollections() {
    const query: NonNullable<ListCollectionsData['query']> = { limit: 1 };
    for (let count = 1; ; count++) {
        const { data: collections } = await listCollections<true>({ query });
        const { nextCursor, totalItems } = collections.meta.pagination;
        if (!nextCursor) return { count, totalItems };
        query.after = nextCursor;
    }
}

async function main(url: string, source: string, target: string, key: string) {
    const auth = (needed: { type: string }) => (needed.type === 'apiKey' ? key : undefined);
    client.setConfig({ auth, baseUrl: url, throwOnError: true });
    const file = new File([await readFile(source)], 'cat.jpg', { type: 'image/jpeg' });
    const { data: upload } = await uploadImage<true>({ body: { file, description: 'A cat' } });
    const { uuid } = upload.data;
    await requestProcessing<true>({
        body: {
            uuid,
            renditions: [
                { name: 'hero', operations: [{ kind: 'resize', width: 320 }], output: { format: 'webp', quality: 75 } },
            ],
        },
    });
    const image = await waitForRenditions(uuid);
    const { data: bytes } = await getRendition<true>({ path: { uuid, name: 'hero' } });
    const hero = image.renditions?.find((rendition) => rendition.name === 'hero');
    if (bytes.size !== hero?.sizeBytes) throw new Error(`${bytes.size} bytes, not ${hero?.sizeBytes}`);
    await writeFile(target, Buffer.from(await bytes.arrayBuffer()));
    const found = (await listAllImages()).filter((each) => each === uuid);
    if (found.length !== 1) throw new Error(`${uuid} is listed ${found.length} times`);
    const { count, totalItems } = await countCollections();
    if (count !== totalItems) throw new Error(`${count} collections, not ${totalItems}`);
}

main(...(process.argv.slice(2) as [string, string, string, string]));
