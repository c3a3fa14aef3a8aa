// next.config.mjs
export default {
  rewrites: async () => [{ source: "/v1/:path*", destination: "http://127.0.0.1:8080/v1/:path*" }],
};
