/** Points drawn by the graphics card: one call for all of them. */

const VERTEX = `#version 300 es
in vec2 place;
in uint code;
uniform vec2 centre;
uniform vec2 scale; // from the plane to -1 … 1 of the canvas
uniform float size;
uniform highp sampler2D palette;
out vec4 colour;
void main() {
  colour = texelFetch(palette, ivec2(int(code), 0), 0);
  gl_Position = colour.a == 0.0 ? vec4(2.0, 2.0, 0.0, 1.0) : vec4((place - centre) * scale, 0.0, 1.0);
  gl_PointSize = code >= 128u ? size + 2.0 : size;
}`;
const FRAGMENT = `#version 300 es
precision highp float;
in vec4 colour;
uniform float size;
out vec4 painted;
void main() {
  float far = length(gl_PointCoord - 0.5) * 2.0;
  float alpha = colour.a * (1.0 - smoothstep(1.0 - 2.0 / size, 1.0, far));
  painted = vec4(colour.rgb * alpha, alpha);
}`;

export class WebglPoints {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {Float32Array} x
   * @param {Float32Array} y
   * @param {boolean} evenSlow Also where no graphics card stands behind it: setting pixels is quicker there.
   * @returns {WebglPoints | null} Null where there is no WebGL 2.
   */
  static on(canvas, x, y, evenSlow) {
    const gl = canvas.getContext("webgl2", { antialias: false, depth: false, stencil: false });
    if (!gl || (isSoftware(gl) && !evenSlow)) return null;
    try {
      return new WebglPoints(gl, x, y);
    } catch {
      return null; // a driver that cannot: the canvas can
    }
  }

  /** @param {WebGL2RenderingContext} gl @param {Float32Array} x @param {Float32Array} y */
  constructor(gl, x, y) {
    this.gl = gl;
    /** @type {WebGLBuffer | null} */
    this.codes = null;
    this.program = programOf(gl);
    gl.useProgram(this.program);
    this.at = Object.fromEntries(["centre", "scale", "size", "palette"].map((name) => [name, gl.getUniformLocation(this.program, name)]));
    const places = new Float32Array(2 * x.length);
    for (let row = 0; row < x.length; row++) {
      places[2 * row] = x[row];
      places[2 * row + 1] = y[row];
    }
    this.#attribute("place", places, () => [2, gl.FLOAT]);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, filter, gl.NEAREST);
    gl.uniform1i(this.at.palette, 0);
  }

  /** @param {string} name @param {Float32Array | Uint8Array} data @param {() => [number, number]} layout How many numbers, of which type. */
  #attribute(name, data, layout) {
    const { gl } = this;
    const buffer = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
    const place = gl.getAttribLocation(this.program, name);
    gl.enableVertexAttribArray(place);
    const [size, type] = layout();
    if (type === gl.UNSIGNED_BYTE) gl.vertexAttribIPointer(place, size, type, 0, 0);
    else gl.vertexAttribPointer(place, size, type, false, 0, 0);
    return buffer;
  }

  /** @param {Uint8Array} codes A place in the palette for each point. */
  setCodes(codes) {
    const { gl } = this;
    if (!this.codes) this.codes = this.#attribute("code", codes, () => [1, gl.UNSIGNED_BYTE]);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.codes);
    gl.bufferSubData(gl.ARRAY_BUFFER, 0, codes);
  }

  /** @param {Uint8Array} palette 256 times red, green, blue, alpha; what has no alpha is not drawn. */
  setPalette(palette) {
    const { gl } = this;
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 256, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, palette);
  }

  /**
   * @param {import("./camera.js").Camera} camera
   * @param {number} size CSS pixels of a point.
   * @param {number} count How many: the first ones.
   * @param {number} ratio Pixels of the screen for one CSS pixel.
   */
  draw(camera, size, count, ratio) {
    const { gl, at } = this;
    gl.viewport(0, 0, gl.canvas.width, gl.canvas.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.uniform2f(at.centre, camera.x, camera.y);
    gl.uniform2f(at.scale, (2 * camera.scale) / camera.width, (2 * camera.scale) / camera.height);
    gl.uniform1f(at.size, Math.max(2, size * ratio));
    gl.drawArrays(gl.POINTS, 0, count);
  }

  close() {
    this.gl.getExtension("WEBGL_lose_context")?.loseContext();
  }
}

/** Whether a program plays the graphics card. @param {WebGL2RenderingContext} gl */
function isSoftware(gl) {
  const info = gl.getExtension("WEBGL_debug_renderer_info");
  const name = gl.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : gl.RENDERER);
  return /swiftshader|llvmpipe|softpipe|software|basic render/i.test(String(name));
}

/** @param {WebGL2RenderingContext} gl */
function programOf(gl) {
  const program = gl.createProgram();
  for (const [kind, source] of /** @type {[number, string][]} */ ([[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]])) {
    const shader = /** @type {WebGLShader} */ (gl.createShader(kind));
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program) ?? "no program");
  return program;
}
