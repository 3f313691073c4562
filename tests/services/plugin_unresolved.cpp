// A shared object that wants a function which nobody has.
void nobody_has_this();
extern "C" const void* tap_plugin() {
  nobody_has_this();
  return nullptr;
}
