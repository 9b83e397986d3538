# Fetches a mailbox with Net::POP3, trying each of its calls: PORT USER FOLDER. Deletes all at the end.
use strict;
use warnings;
use Net::POP3;

my ($port, $user, $folder) = @ARGV;

sub login {
    my $pop3 = Net::POP3->new("127.0.0.1", Port => $port, Timeout => 60) or die "no connection: $@";
    defined $pop3->login($user, "any") or die "login: " . $pop3->message;
    return $pop3;
}

my $pop3 = login();
my ($count, $octets) = $pop3->popstat;
my $sizes = $pop3->list or die "LIST";
my $uidls = $pop3->uidl or die "UIDL";
keys %$sizes == $count && keys %$uidls == $count or die "as many as STAT says";
for my $number (1 .. $count) {
    my $lines = $pop3->get($number) or die "RETR $number: " . $pop3->message;
    open my $file, ">:raw", sprintf("%s/%03d", $folder, $number) or die $!;
    print {$file} @$lines;
    close $file or die $!;
    my $top = $pop3->top($number, 0) or die "TOP $number";
    $top->[0] eq $lines->[0] && @$top <= @$lines or die "TOP $number is not the top of RETR";
    $pop3->list($number) == $sizes->{$number} or die "LIST $number";
    $pop3->uidl($number) eq $uidls->{$number} or die "UIDL $number";
}
$pop3->delete(1) or die "DELE";
$pop3->get(1) and die "a deleted message was sent";
# Returns nothing of use; whether it worked is seen below.
$pop3->reset;
$pop3->quit or die "QUIT";

$pop3 = login();
($pop3->popstat)[0] == $count or die "RSET did not undo DELE";
$pop3->delete($_) or die "DELE $_" for 1 .. $count;
$pop3->quit or die "QUIT";
$pop3 = login();
($pop3->popstat)[0] == 0 or die "deleted messages are still there";
$pop3->quit;
