import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";

/** As many meshes and triangles as llm-viz draws of its smallest model: 219 draw calls, 112,000 triangles. */
const MESHES = 219;
const PAGE = `<!doctype html><style>body,canvas{margin:0;display:block}</style><canvas></canvas>
<script type="module">
import * as THREE from "/three.module.js";
const renderer = new THREE.WebGLRenderer({ canvas: document.querySelector("canvas") });
renderer.setSize(innerWidth, innerHeight);
const scene = new THREE.Scene();
const camera = new THREE.PerspectiveCamera(45, innerWidth / innerHeight, 1, 1000);
camera.position.z = 60;
scene.add(new THREE.HemisphereLight());
const group = new THREE.Group();
const shape = new THREE.PlaneGeometry(1, 1, 16, 16);
for (let at = 0; at < ${MESHES}; at += 1) {
  const mesh = new THREE.Mesh(shape, new THREE.MeshStandardMaterial({ color: at * 70001, side: THREE.DoubleSide }));
  mesh.scale.set(3, 3, 1);
  mesh.position.set((at % 15) * 3.4 - 24, Math.floor(at / 15) * 3.4 - 24, (at % 7) - 3);
  group.add(mesh);
}
scene.add(group);
let wanted = false;
function draw() { wanted = false; renderer.render(scene, camera); }
addEventListener("pointermove", (event) => {
  group.rotation.y = event.clientX / 300;
  if (!wanted) { wanted = true; requestAnimationFrame(draw); }
});
requestAnimationFrame(draw);
</script>`;

/** Serves a plain three.js scene: what a frame of any other page here is held against. */
export async function servePlainScene(): Promise<{ url: string; stop(): void }> {
  const folder = new URL("../node_modules/three/build/", import.meta.url);
  const server = createServer(async (request, response) => {
    const file = /^\/(three\.[a-z.]+\.js)$/.exec(request.url ?? "")?.[1];
    response.setHeader("Content-Type", file ? "text/javascript" : "text/html");
    response.end(file ? await readFile(fileURLToPath(new URL(file, folder))) : PAGE);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, stop: () => server.close() };
}
