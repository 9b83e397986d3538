# Sends a file with Net::SMTP: PORT FROM TO FILE.
use strict;
use warnings;
use Net::SMTP;

my ($port, $from, $to, $path) = @ARGV;
my $smtp = Net::SMTP->new("127.0.0.1", Port => $port, Hello => "client.example", Timeout => 60)
    or die "no connection: $@";
defined $smtp->supports("SIZE") && defined $smtp->supports("PIPELINING") or die "EHLO";
$smtp->reset or die "RSET";
$smtp->mail($from, Size => -s $path, Bits => "8") or die "MAIL: " . $smtp->message;
$smtp->to($to) or die "RCPT: " . $smtp->message;
$smtp->data or die "DATA: " . $smtp->message;
open my $file, "<:raw", $path or die "$path: $!";
while (defined(my $line = <$file>)) {
    $smtp->datasend($line) or die "datasend: " . $smtp->message;
}
$smtp->dataend or die "end of data: " . $smtp->message;
$smtp->quit or die "QUIT";
