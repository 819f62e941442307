/** In the message of every browser but Safari's, which names no address. */
const ADDRESS = /https?:\/\/\S+\.js/;

/**
 * Imports a part of the page; may be called again after a failure. Browsers remember by its address that an import
 * failed, so that the next ones ask under another.
 */
export function importAgain<Module>(load: () => Promise<Module>): () => Promise<Module> {
  let address: string | null = null;
  let again = 0;
  return async () => {
    again += 1;
    try {
      return await (address === null ? load() : import(/* @vite-ignore */ `${address}?again=${again}`));
    } catch (error) {
      address ??= ADDRESS.exec(String(error))?.[0] ?? null;
      throw error;
    }
  };
}
