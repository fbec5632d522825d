export default { main() {} };
