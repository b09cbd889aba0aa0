// Upload an image, request a rendition, and download it: with the client that openapi-ts generates.
// Arguments: the service's URL, the image, and the file to write.

import { readFile, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

import { getImage, getRendition, requestProcessing, uploadImage } from './client';
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

async function main(url: string, source: string, target: string) {
    client.setConfig({ baseUrl: url, throwOnError: true });
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
}

main(...(process.argv.slice(2) as [string, string, string]));
