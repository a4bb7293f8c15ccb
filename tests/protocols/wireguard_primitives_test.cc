// The primitives against their specifications' own vectors.
#include "protocols/wireguard/primitives.h"

#include "protocols/wireguard/key_text.h"
#include "wireguard_support.h"

namespace qpip::wireguard::testing {
namespace {

Secret SecretFrom(std::string_view hex) {
  const Buffer bytes = FromHex(hex);
  return Secret(std::span(bytes).first<kKeyBytes>());
}

PublicKey KeyFrom(std::string_view hex) {
  PublicKey key;
  const Buffer bytes = FromHex(hex);
  std::copy(bytes.begin(), bytes.end(), key.begin());
  return key;
}

Buffer Copy(Bytes bytes) { return {bytes.begin(), bytes.end()}; }
Bytes Text(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

Secret Counting() {
  return SecretFrom("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
}

class PrimitivesTest : public ::testing::Test {
 protected:
  Primitives primitives;
};

TEST_F(PrimitivesTest, GivenRfc7693AppendixBWhenHashedThenItsDigestResults) {
  const Buffer expected =
      FromHex("508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982");
  EXPECT_EQ(Copy(primitives.Hash({Text("abc")})), expected);
  EXPECT_EQ(Copy(primitives.Hash({Text("a"), {}, Text("bc")})), expected);
}

// By Python's hashlib.blake2s(b"abc", digest_size=16, key=bytes(range(32))): RFC 7693 has no vector
// of a short digest with a key.
TEST_F(PrimitivesTest, GivenAKeyWhenAMacIsMadeThenItIsTheKeyedDigestOf16Bytes) {
  const Secret key = Counting();
  const Buffer expected = FromHex("61ba5f165c194692e09d12520cc4c74a");
  EXPECT_EQ(Copy(primitives.Mac(key.bytes(), {Text("abc")})), expected);
  EXPECT_EQ(Copy(primitives.Mac(key.bytes(), {Text("ab"), Text("c")})), expected);
}

// By Python's hmac with hashlib.blake2s.
TEST_F(PrimitivesTest, GivenAKeyWhenHmacAndKdfRunThenTheyAreRfc2104AndRfc5869OverBlake2s) {
  Secret key = Counting();
  EXPECT_EQ(Copy(primitives.Hmac(key.bytes(), {Text("abc")})),
            FromHex("82623be5bc0a391b24dce53e67d028eff92d586de0485ac37822e597d049c74f"));
  Secret second, third;
  primitives.Kdf(key, Text("input"), {&key, &second, &third});  // may overwrite its key
  EXPECT_EQ(Copy(key.bytes()),
            FromHex("87b7f70b24183c6db5dc4f6d9f4c47cdb203321aa2a0bef714896adb3107a040"));
  EXPECT_EQ(Copy(second.bytes()),
            FromHex("538a02e1eb2e31b7e4d4b82476d1fe2acf50085d3fb584537279195f5d1f5824"));
  EXPECT_EQ(Copy(third.bytes()),
            FromHex("9ad858025593be88de0f9442a589cfe84a88dc19e4753d93684d1c5efc4837f9"));
}

TEST_F(PrimitivesTest, GivenRfc7748Section61WhenKeysAreAgreedThenItsSecretResults) {
  const Secret alice =
      SecretFrom("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
  const Secret bob = SecretFrom("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
  const PublicKey alices =
      KeyFrom("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
  const PublicKey bobs =
      KeyFrom("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
  EXPECT_EQ(primitives.PublicKeyOf(alice), alices);
  EXPECT_EQ(primitives.PublicKeyOf(bob), bobs);
  const Buffer expected =
      FromHex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
  Secret secret;
  ASSERT_TRUE(primitives.SharedSecret(alice, bobs, &secret));
  EXPECT_EQ(Copy(secret.bytes()), expected);
  ASSERT_TRUE(primitives.SharedSecret(bob, alices, &secret));
  EXPECT_EQ(Copy(secret.bytes()), expected);
}

// RFC 7748 section 6.1: "an all-zero value", from points of small order.
TEST_F(PrimitivesTest, GivenAPointOfSmallOrderWhenKeysAreAgreedThenItIsRefused) {
  for (const char* point : {"0000000000000000000000000000000000000000000000000000000000000000",
                            "0100000000000000000000000000000000000000000000000000000000000000",
                            "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
                            "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
                            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"}) {
    Secret secret;
    EXPECT_FALSE(primitives.SharedSecret(Counting(), KeyFrom(point), &secret)) << point;
  }
}

TEST_F(PrimitivesTest, GivenRfc8439AppendixA5WhenOpenedThenItsPlaintextResults) {
  const Secret key = SecretFrom("1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0");
  const uint64_t counter = 0x0807060504030201;
  const Buffer associated = FromHex("f33388860000000000004e91");
  const Buffer sealed = FromHex(
      "64a0861575861af460f062c79be643bd5e805cfd345cf389f108670ac76c8cb24c6cfc18755d43eea09ee94e"
      "382d26b0bdb7b73c321b0100d4f03b7f355894cf332f830e710b97ce98c8a84abd0b948114ad176e008d33bd"
      "60f982b1ff37c8559797a06ef4f0ef61c186324e2b3506383606907b6a7c02b0f9f6157b53c867e4b9166c76"
      "7b804d46a59b5216cde7a4e99040c5a40433225ee282a1b0a06c523eaf4534d7f83fa1155b0047718cbc546a"
      "0d072b04b3564eea1b422273f548271a0bb2316053fa76991955ebd63159434ecebb4e466dae5a1073a67276"
      "27097a1049e617d91d361094fa68f0ff77987130305beaba2eda04df997b714d6c6f2c29a6ad5cb4022b0270"
      "9beead9d67890cbb22392336fea1851f38");
  const Buffer plaintext = FromHex(
      "496e7465726e65742d4472616674732061726520647261667420646f63756d656e74732076616c696420666f"
      "722061206d6178696d756d206f6620736978206d6f6e74687320616e64206d61792062652075706461746564"
      "2c207265706c616365642c206f72206f62736f6c65746564206279206f7468657220646f63756d656e747320"
      "617420616e792074696d652e20497420697320696e617070726f70726961746520746f2075736520496e7465"
      "726e65742d447261667473206173207265666572656e6365206d6174657269616c206f7220746f2063697465"
      "207468656d206f74686572207468616e206173202fe2809c776f726b20696e2070726f67726573732e2fe280"
      "9d");
  Aead aead;
  Buffer out(plaintext.size());
  ASSERT_TRUE(aead.Open(key, 1, counter, associated, sealed, out));
  EXPECT_EQ(out, plaintext);
  Buffer again(sealed.size());
  ASSERT_TRUE(aead.Seal(key, 1, counter, associated, plaintext, again));
  EXPECT_EQ(again, sealed);
}

TEST_F(PrimitivesTest, GivenSealedBytesWhenAnyIsChangedThenTheyDoNotOpen) {
  Aead aead;
  Buffer sealed(20 + kTagBytes), out(20);
  ASSERT_TRUE(aead.Seal(Counting(), 1, 7, {}, Buffer(20, 0x55), sealed));
  ASSERT_TRUE(aead.Open(Counting(), 1, 7, {}, sealed, out));
  EXPECT_FALSE(aead.Open(Counting(), 1, 8, {}, sealed, out));
  EXPECT_FALSE(aead.Open(SecretOf(1), 2, 7, {}, sealed, out));
  EXPECT_FALSE(aead.Open(Counting(), 1, 7, {}, Bytes(sealed).first(kTagBytes - 1), out));
  for (uint8_t& byte : sealed) {
    byte ^= 0x10;
    EXPECT_FALSE(aead.Open(Counting(), 1, 7, {}, sealed, out));
    byte ^= 0x10;
  }
  EXPECT_TRUE(aead.Open(Counting(), 1, 7, {}, sealed, out));
}

TEST_F(PrimitivesTest, GivenTwoKeysInTurnWhenSealedInPlaceThenEachOpensUnderItsOwn) {
  Aead aead;
  const Secret keys[] = {SecretOf(1), SecretOf(2)};
  Buffer bytes(64 + kTagBytes, 0x77);
  for (uint64_t i = 0; i < 6; ++i) {
    const uint64_t id = 1 + i % 2;
    if (i == 3) aead.ForgetKeys();
    ASSERT_TRUE(aead.Seal(keys[i % 2], id, i, {}, Bytes(bytes).first(64), bytes));
    ASSERT_TRUE(aead.Open(keys[i % 2], id, i, {}, bytes, bytes));
    EXPECT_EQ(Copy(Bytes(bytes).first(64)), Buffer(64, 0x77));
  }
}

TEST_F(PrimitivesTest, GivenTheXchachaDraftsSection221WhenHChaCha20RunsThenItsSubkeyResults) {
  const Buffer nonce = FromHex("000000090000004a0000000031415927");
  EXPECT_EQ(Copy(primitives.HChaCha20(Counting(), std::span(nonce).first<16>()).bytes()),
            FromHex("82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc"));
}

TEST_F(PrimitivesTest, GivenTheXchachaDraftsAppendixA3WhenSealedThenItsCiphertextResults) {
  const Secret key = SecretFrom("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f");
  ExtendedNonce nonce;
  for (size_t i = 0; i < nonce.size(); ++i) nonce[i] = static_cast<uint8_t>(0x40 + i);
  const Buffer associated = FromHex("50515253c0c1c2c3c4c5c6c7");
  const Buffer plaintext = FromHex(
      "4c616469657320616e642047656e746c656d656e206f662074686520636c617373206f66202739393a204966"
      "204920636f756c64206f6666657220796f75206f6e6c79206f6e652074697020666f72207468652066757475"
      "72652c2073756e73637265656e20776f756c642062652069742e");
  const Buffer expected = FromHex(
      "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa6440bf3a82f"
      "4eda7e39ae64c6708c54c216cb96b72e1213b4522f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f"
      "76b2383565d3fff921f9664c97637da9768812f615c68b13b52ec0875924c1c7987947deafd8780acf49");
  Buffer sealed(expected.size()), out(plaintext.size());
  primitives.SealExtended(key, nonce, associated, plaintext, sealed);
  EXPECT_EQ(sealed, expected);
  ASSERT_TRUE(primitives.OpenExtended(key, nonce, associated, sealed, out));
  EXPECT_EQ(out, plaintext);
  nonce[0] ^= 1;
  EXPECT_FALSE(primitives.OpenExtended(key, nonce, associated, sealed, out));
}

TEST(SecretTest, GivenASecretWhenMovedFromOrDestroyedThenItsBytesAreErased) {
  alignas(Secret) std::array<uint8_t, sizeof(Secret)> place = {};
  Secret* secret = new (place.data()) Secret(SecretOf(1));
  Secret other(std::move(*secret));
  EXPECT_TRUE(secret->IsZero());  // NOLINT(bugprone-use-after-move)
  EXPECT_FALSE(other.IsZero());
  *secret = other;
  EXPECT_FALSE(secret->IsZero());
  secret->~Secret();
  EXPECT_EQ(place, (std::array<uint8_t, sizeof(Secret)>{}));
}

TEST(KeyTextTest, GivenRandomKeysWhenWrittenThenTheyReadBack) {
  std::mt19937 generator(1);
  for (int i = 0; i < 1000; ++i) {
    PublicKey key, back;
    for (uint8_t& byte : key) byte = static_cast<uint8_t>(generator());
    const std::string text = FormatKey(key);
    ASSERT_EQ(text.size(), kKeyTextBytes);
    ASSERT_TRUE(ParseKey(text, back)) << text;
    ASSERT_EQ(back, key);
  }
}

// The private key of the example in wg(8).
TEST(KeyTextTest, GivenAKeyAsWgPrintsItWhenReadThenItIsThoseBytes) {
  PublicKey key;
  ASSERT_TRUE(ParseKey("yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=", key));
  EXPECT_EQ(key[0], 0xc8);
  EXPECT_EQ(key[31], 0x69);
  EXPECT_EQ(FormatKey(key), "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=");
}

TEST(KeyTextTest, GivenWhatIsNoKeyWhenReadThenItIsRefused) {
  PublicKey key;
  for (const char* text : {"", "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk",
                           "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBml=",  // stray bits
                           "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBm==",  // 31 bytes
                           "yAnz5TF-lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=",  // another alphabet
                           "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk= "}) {
    EXPECT_FALSE(ParseKey(text, key)) << text;
  }
}

}  // namespace
}  // namespace qpip::wireguard::testing
